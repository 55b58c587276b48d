"""Wording of inspection reports, of owners' associations, and of all the other papers that lie in a file."""

from __future__ import annotations

from toolkit.simulate.documents_kinds import Grid, Kind

INSPECTION = Kind(
    forms=(
        ("report", "Home Inspection Report"), ("checklist", "Property Inspection Checklist"), ("report", "Residential Building Inspection"),
        ("report", "Wood Destroying Pests and Organisms Report"), ("letter", "Roof Certification"), ("table", "Summary of Findings"),
        ("form", "Septic System Evaluation"), ("letter", "Structural Engineer's Observations"), ("columns", "General Home Inspection"),
        ("checklist", "Pre-Purchase Survey"), ("report", "Chimney and Fireplace Report"), ("form", "Water Quality and Well Test"), ("report", "Report"),
    ),
    issuer=("{inspector}", "{inspector}", "{inspector}"),
    headings=(
        "Exterior", "Roof", "Attic and Insulation", "Foundation", "Plumbing", "Electrical", "Heating and Cooling", "Kitchen", "Bathrooms",
        "Scope of Inspection", "Summary of Deficiencies", "Recommendations", "Limitations", "Garage",
    ),
    sentences=(
        "The inspection was [performed|carried out] on {date} [in the presence of {client}|by {officer}|for {buyer}].",
        "The roof covering is [composition shingle|concrete tile|wood shake] and [appears|is] [serviceable|near the end of its life|worn].",
        "[Recommend|We recommend] [repair|evaluation|replacement] by a [licensed|qualified] [plumber|electrician|roofer|contractor].",
        "The main electrical panel is [100|125|200] amps; [double tapped breakers were noted|no deficiencies were observed].",
        "GFCI protection is [missing|not present|installed] at the [kitchen|bathroom|garage|exterior] receptacles.",
        "[Moisture stains|Minor cracks|Evidence of past leakage] [were observed|was noted] at the [ceiling|foundation|crawl space].",
        "The water heater is a [40|50] gallon [gas|electric] unit, approximately {n} years old, [lacking seismic straps|in working order].",
        "Estimated cost of repair: {fee}.",
        "The furnace [was tested|operated] and [responded normally|shut off prematurely]; [service|cleaning] is recommended.",
        "This report is the result of a visual inspection of [accessible|readily accessible] areas [only|] and is not a guarantee.",
        "Section I items: evidence of [subterranean termites|dry rot|fungus damage] at the [eaves|deck|window sills].",
        "Drainage: grade slopes [toward|away from] the foundation at the [north|south|rear] side.",
        "[Attic|Crawl space] insulation averages {n} inches; ventilation is [adequate|insufficient].",
        "Rating: [satisfactory|marginal|poor|safety hazard].",
        "The [garage door|auto reverse] [failed to reverse|operated properly] when tested.",
        "[Windows|Doors] [stick|are painted shut|have failed seals] in [several rooms|the main bedroom].",
        "Weather at the time was [clear|cloudy|light rain], {n} degrees; the house was [occupied|vacant|furnished].",
        "Supply pipes are [copper|galvanized|PEX]; [corrosion|low flow] was [found|not found].",
        "The inspector's fee of {fee} limits [liability|our liability] [to that amount|].",
    ),
    fields=(
        "Inspector; {officer}", "Client; {buyer}", "Inspection date; {date}", "Inspection fee; {fee}", "Weather; [clear|rain|cloudy]", "Report No.; {ref}",
        "Building type; [single family|duplex|condominium]", "Year built; {built}", "Attended by; {agent}", "Square feet; {big}",
    ),
    checks=(
        "Roof covering", "Gutters and downspouts", "Foundation", "Electrical panel", "GFCI outlets", "Water heater", "Furnace", "Air conditioning",
        "Attic ventilation", "Crawl space moisture", "Windows and doors", "Garage door opener", "Plumbing fixtures", "Smoke detectors", "Deck and railings",
        "Chimney and flue", "Water pressure",
    ),
    grids=(
        Grid("Findings", "Component; Condition; Action", (
            "Roof; [good|fair|worn]; [monitor|repair|none]", "Gutters; [good|fair|clogged]; [clean|none]", "Panel; [good|unsafe]; [repair|none]",
            "Furnace; [good|fair|old]; [service|none]", "Water heater; [good|leaking]; [replace|none]", "Foundation; [good|cracked]; [evaluate|none]",
            "Deck; [fair|rotted]; [repair|none]")),
        Grid("Estimated repairs", "Item; Priority; Cost", (
            "Replace flashing; [high|low]; {fee}", "Install GFCI; high; {fee}", "Repair deck; [medium|low]; {fee}", "Treat termites; high; {fee}", "Seal cracks; low; {fee}")),
    ),
    signers=("Inspector: {officer}", "Client: {buyer}"),
    mention=(
        "The home inspection report [of|dated] {date} by {inspector} [noted|found] [items in need of repair|no major defects].",
        "<buyer> has [ordered|received] a home inspection [and a termite report|].",
        "{inspector} recommends repair of the [roof|furnace|electrical panel], estimated at {fee}.",
    ),
)  # fmt: skip

HOA = Kind(
    forms=(
        ("contract", "Declaration of Covenants, Conditions and Restrictions"), ("table", "Annual Operating Budget"), ("letter", "Notice of Special Assessment"),
        ("minutes", "Minutes of the Board of Directors"), ("contract", "Bylaws"), ("form", "Resale Certificate"), ("columns", "Rules and Regulations"),
        ("form", "Architectural Review Application"), ("letter", "Notice of Violation"), ("table", "Reserve Study Summary"), ("statement", "Statement of Account"),
        ("columns", "Community Newsletter"), ("recorded", "Certificate"),
    ),
    issuer=("{association}", "{association}", "{association}"),
    headings=(
        "Assessments", "Common Area", "Use Restrictions", "Architectural Control", "Board of Directors", "Parking", "Pets", "Voting Rights",
        "Reserve Fund", "Meetings", "Enforcement and Fines", "Maintenance", "Insurance", "Quorum",
    ),
    sentences=(
        "Each [lot|unit] owner [is a member|shall be a member] of {association}.",
        "[Regular|Monthly] assessments [are|have been set at] {dues} per [unit|lot], due on the first of each month.",
        "The board [approved|adopted] a special assessment of {fee} for [roof replacement|repaving|pool resurfacing], payable by {date}.",
        "No owner shall [alter|paint|build upon] the exterior without [prior written approval|approval] of the architectural committee.",
        "The common area includes the [pool|clubhouse|private streets|landscaping] and is maintained by the <association>.",
        "[Pets|Dogs] must be [leashed|registered]; no more than {few} [animals|pets] are allowed per unit.",
        "Vehicles parked [overnight|in guest spaces|in fire lanes] may be [towed|cited] at the owner's expense.",
        "A quorum of {n} members was [present|established]; {chair} presided as [president|chair].",
        "The reserve fund [is|stands at] {n} percent funded with a balance of {money}.",
        "Motion by {person}, seconded by {person}, [carried|passed unanimously].",
        "Fines for [violations|noncompliance] [begin at|are] {fee} after a hearing before the board.",
        "The next [board|annual] meeting [is|will be held] on {date} at the clubhouse.",
        "Unpaid assessments [are a lien on|constitute a charge upon] the unit and may be [collected|foreclosed].",
        "The transfer fee [due the <association>|] is {fee}; the account of {seller} is [current|past due by {fee}].",
        "Unit at {address} was [observed|found] with [trash bins in view|an unapproved satellite dish|overgrown landscaping].",
        "Leases shall be [in writing|filed with the manager] and for not less than {n} days.",
        "The master policy covers [common elements|the buildings]; owners [should|must] insure their own contents.",
        "Quiet hours are from 10 PM to 7 AM; [amplified music|noise] is [prohibited|not permitted].",
        "Directors [are elected|serve] for terms of {few} years at the annual meeting of members.",
    ),
    fields=(
        "Association; {association}", "Monthly dues; {dues}", "Unit owner; {seller}", "Manager; {officer}", "Reserve balance; {money}", "Transfer fee; {fee}",
        "Special assessment; {fee}", "Fiscal year; {year}", "Units; {book}", "Pending litigation; [none|yes]",
    ),
    checks=(
        "Account current", "Special assessment pending", "Violations on record", "Right of first refusal", "Rental restrictions", "Pets allowed",
        "Fence or wall", "Exterior paint", "Patio cover", "Solar panels", "Approved with conditions", "Insurance certificate attached",
    ),
    grids=(
        Grid("Budget", "Account; Monthly; Annual", (
            "Landscaping; {fee}; {fee}", "Pool service; {fee}; {fee}", "Insurance; {fee}; {fee}", "Management; {fee}; {fee}", "Utilities; {fee}; {fee}",
            "Reserves; {fee}; {fee}", "Total; {fee}; {money}")),
        Grid("Reserve components", "Component; Life; Cost", (
            "Roofs; {n} years; {money}", "Paving; {n} years; {money}", "Pool; {n} years; {fee}", "Painting; {n} years; {money}", "Fencing; {n} years; {fee}")),
    ),
    signers=("President: {chair}", "Secretary: {witness}", "Owner: {seller}"),
    mention=(
        "The <property> is subject to {association}; dues are {dues} per month.",
        "<buyer> [shall receive|has received] the [CC&Rs|association documents|bylaws] within {n} days.",
        "The <association> charges a transfer fee of {fee}.",
    ),
)  # fmt: skip

OTHER = Kind(
    forms=(
        ("letter", "Cover letter"), ("statement", "Invoice"), ("flyer", "Open House"), ("minutes", "Meeting Notes"), ("letter", "Thank you"),
        ("flyer", "Just Sold"), ("columns", "Curriculum Vitae"), ("table", "Expense Report"), ("form", "Fax Transmittal"), ("letter", "Letter of Reference"),
        ("statement", "Receipt"), ("columns", "Market Update"), ("minutes", "Task List"), ("form", "Utility Service Request"), ("flyer", "Moving Guide"),
        ("contract", "Residential Lease"), ("letter", "Insurance Quote"), ("table", "Phone List"),
    ),
    issuer=("{company}", "{broker}", "{company}", "{person}", "{lender}"),
    headings=(
        "Overview", "Experience", "Education", "Next Steps", "To Do", "What to Expect", "Services", "Terms", "References", "Agenda", "Discussion",
        "Tips for Moving Day", "Market Trends",
    ),
    sentences=(
        "Thank you for [your letter|your business|your call|meeting with us] [last week|on {date}|].",
        "[Enclosed|Attached] please find the [documents|papers|copies] you [requested|asked for].",
        "Our crew will [arrive|begin] at {few} PM on {date}; please [clear the driveway|have boxes labeled].",
        "The premium for [homeowner's|renter's] coverage is {fee} per year with a {fee} deductible.",
        "Payment of {fee} is due within {n} days of the invoice date.",
        "{person} has been [a reliable tenant|employed by us|a client] since {date} [and is recommended without reservation|].",
        "[Join us|Visit us] on {date} [from 1 to 4 PM|for refreshments] at {address}.",
        "Median prices in {town} [rose|fell|held steady] [this quarter|this year]; [inventory|days on market] stood at {n}.",
        "Responsible for [client relations|bookkeeping|scheduling|training of new staff] at {company}.",
        "We [installed|repaired|cleaned] the [sprinklers|gutters|windows|disposal] and [tested|checked] all [parts|connections].",
        "Rent of {fee} is [due|payable] on the first; the tenant [pays|is responsible for] utilities.",
        "[Follow up with|Call] {person} about the [keys|painting|staging|flowers|schedule].",
        "It was a pleasure to [help|work with] you; [we wish you|enjoy] many happy years in your new home.",
        "Please [connect|transfer|disconnect] [water|gas|electric] service as of {date}.",
        "Languages: English, Spanish; [skills include|proficient in] spreadsheets, scheduling and [sales|design].",
        "Mileage of {book} miles and [parking|meals|postage] of {fee} are [to be reimbursed|claimed].",
        "[Three|Four] bedrooms, [sunny kitchen|updated baths|large garden], close to [schools|parks|shops]. Do not miss it!",
        "Number of pages including this one: {few}.",
        "Bachelor of [Arts|Science], State University, {year}.",
        "[Remember|Don't forget] the [milk|printer paper|sign riders|spare keys] and the [dentist|school play] on {date}.",
    ),
    fields=(
        "To; {person}", "From; {agent}", "Invoice No.; {ref}", "Account; {ref}", "Amount due; {fee}", "Pages; {few}", "Subject; [documents|your request|schedule]",
        "Customer; {client}", "Service date; {date}", "Tenant; {person}", "Due; {date}",
    ),
    checks=("Urgent", "For review", "Please comment", "Please reply", "Paid", "Call back", "Electric", "Gas", "Water", "Internet", "Buy boxes", "Change locks"),
    grids=(
        Grid("Charges", "Description; Qty; Amount", (
            "Labor; {few}; {fee}", "Materials; {few}; {fee}", "Travel; {few}; {fee}", "Service call; 1; {fee}", "Disposal; 1; {fee}", "Tax; ; {fee}")),
        Grid("Directory", "Name; Office; Phone", ("{person}; {broker}; {phone}", "{person}; {company}; {phone}", "{agent}; {broker}; {phone}",
                                                  "{officer}; {lender}; {phone}", "{person}; {town}; {phone}")),
        Grid("Market", "Town; Median price; Sold", ("{somewhere}; {money}; {n}",) * 4),
    ),
    signers=("{agent}", "{person}"),
    mention=(
        "{company} [sent|mailed] an invoice for {fee} on {date}.",
        "{person} [wrote|called] on {date} about the [keys|move|schedule].",
    ),
)  # fmt: skip
