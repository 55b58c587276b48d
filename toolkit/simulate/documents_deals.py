"""Wording of the papers of a sale: purchase agreements, listing agreements, disclosure forms."""

from __future__ import annotations

from toolkit.simulate.documents_kinds import Grid, Kind

PURCHASE = Kind(
    forms=(
        ("contract", "Residential Purchase Agreement and Joint Escrow Instructions"), ("contract", "Contract of Sale"),
        ("contract", "Agreement to Purchase Real Estate"), ("form", "Offer to Purchase"), ("form", "Purchase Contract Summary"),
        ("columns", "Real Estate Sales Contract"), ("contract", "Addendum to Contract"), ("form", "Counter Offer No. 1"),
        ("contract", "Vacant Land Purchase Agreement"), ("recorded", "Memorandum of Agreement of Sale"),
        ("form", "Offer and Acceptance"), ("contract", "Earnest Money Agreement"), ("letter", "Letter of Intent to Purchase"),
    ),
    issuer=("{broker}", "Association of Realtors, {state}", "{broker}"),
    headings=(
        "Purchase Price", "Deposit", "Financing Contingency", "Inspection Contingency", "Closing and Possession", "Title",
        "Included Fixtures", "Prorations", "Default", "Risk of Loss", "Acceptance", "Assignment", "Remedies", "Walk-Through",
        "Appraisal", "Liquidated Damages",
    ),
    sentences=(
        "<buyer> [agrees|offers] to [purchase|buy] and <seller> agrees to [sell|convey] the <property> [upon the terms below|on the following terms].",
        "The [total purchase price|price to be paid] is {price}, [payable|to be paid] [at <closing>|in cash at <closing>|as follows].",
        "An [initial|earnest money] deposit of {deposit} [shall be held|is to be placed] [in escrow|in trust] by {title_company}.",
        "<buyer> shall [apply for|obtain] a loan of {loan_amount} [within|no later than] {n} days [after acceptance|of the effective date].",
        "This offer [expires|is revoked] unless [accepted|signed by <seller>] on or before {date}.",
        "<buyer> has {n} days [after acceptance|] to [inspect|investigate] the <property> and to [remove contingencies|cancel] in writing.",
        "Possession [shall be delivered|passes] to <buyer> [at noon|at 6 PM|] on the date of <closing>.",
        "If <buyer> [fails to complete|defaults on] this purchase, <seller> may retain the deposit as liquidated damages.",
        "Taxes, rents and assessments [shall be|are to be] prorated as of <closing>.",
        "All fixtures and fittings [attached to|affixed to] the <property> are [included in|part of] the sale, [free of liens|without charge].",
        "<seller> shall [pay|contribute] {fee} [toward|to] <buyer>'s closing costs.",
        "<buyer>'s obligation is [contingent|conditioned] upon the <property> appraising at no less than the purchase price.",
        "<buyer> [may|shall have the right to] make a final [walk-through|verification of condition] within {few} days before <closing>.",
        "<seller> shall convey [marketable|good] title by [general warranty|grant] deed.",
        "The sale of <buyer>'s [present|current] residence at {elsewhere} [is|is not] a contingency.",
        "<seller> [accepts|hereby accepts] the [above|foregoing] offer [subject to the attached counter offer|and agrees to sell].",
        "<buyer> shall not assign this <agreement> without the written consent of <seller>.",
        "The balance of the purchase price shall be [deposited|delivered] in [good|immediately available] funds.",
        "<seller> shall maintain the <property> in its [present|existing] condition until possession is delivered.",
        "Backup offers [may|may not] be [considered|accepted] while this <agreement> is [pending|in force].",
    ),
    fields=(
        "Purchase price; {price}", "Earnest money; {deposit}", "Loan amount; {loan_amount}", "Closing date; {closing}",
        "Offer date; {day}", "Expiration of offer; {date}", "Escrow holder; {title_company}", "Balance of down payment; {money}",
        "<buyer>'s agent; {agent}", "Contingency period; {n} days",
    ),
    checks=(
        "Loan contingency", "Appraisal contingency", "All cash offer", "Sale of buyer's property", "Home warranty paid by seller",
        "Washer and dryer included", "Refrigerator included", "Seller may remain in possession after closing", "Increased deposit",
    ),
    grids=(
        Grid("Terms of purchase", "Item; Term; Amount", (
            "Initial deposit; within {few} days; {deposit}", "First loan; {rate}; {loan_amount}", "Balance at closing; cash; {money}",
            "Seller credit; at closing; {fee}", "Purchase price; total; {price}")),
        Grid("Allocation of costs", "Cost; Paid by; Amount", (
            "Escrow fee; [<buyer>|<seller>|split]; {fee}", "Owner's title policy; [<buyer>|<seller>]; {fee}",
            "Transfer tax; [<buyer>|<seller>]; {fee}", "Home warranty; [<buyer>|<seller>]; {fee}", "Natural hazard report; <seller>; {fee}")),
    ),
    signers=("<buyer>: {buyer}", "<seller>: {seller}", "Agent: {agent}"),
    mention=(
        "The purchase agreement dated {date} [provides for|calls for] <closing> on {closing}.",
        "[As stated in|Under] the contract of sale, the purchase price is {price} with a deposit of {deposit}.",
        "<buyer>'s offer to purchase was [accepted|signed] on {date}.",
    ),
)  # fmt: skip

LISTING = Kind(
    forms=(
        ("contract", "Exclusive Right to Sell Listing Agreement"), ("form", "Residential Listing Agreement"),
        ("form", "Listing Input Sheet"), ("contract", "Exclusive Agency Agreement"), ("contract", "Open Listing Contract"),
        ("form", "Seller's Authorization to Sell"), ("columns", "Exclusive Authorization and Right to Sell"),
        ("contract", "Broker Engagement Agreement"), ("form", "Listing Change Order"), ("contract", "Addendum to Contract"),
        ("table", "Multiple Listing Profile"), ("letter", "Appointment of Sole Agent"), ("contract", "Extension of Listing"),
    ),
    issuer=("{broker}", "{broker}", "Association of Realtors, {state}"),
    headings=(
        "Exclusive Right to Sell", "Listing Price", "Listing Period", "Compensation to Broker", "Cooperation with Brokers",
        "Multiple Listing Service", "Lockbox and Showings", "Marketing", "Seller's Duties", "Protection Period", "Signs",
        "Termination", "Agency Relationships", "Broker's Duties",
    ),
    sentences=(
        "<seller> [employs|engages|appoints] {broker} as [sole and exclusive|exclusive] agent to [sell|market] the <property>.",
        "The [listing|asking|list] price [shall be|is] {price} [or such other price as <seller> accepts|].",
        "This listing [begins|commences] on {day} and [expires|ends] at 11:59 PM on {expires}.",
        "<seller> agrees to pay <broker> a commission of {pct} of the [selling|gross sales] price.",
        "<broker> is authorized to [place|enter] the <property> in the multiple listing service within {few} days.",
        "<broker> may [share|split] compensation with [cooperating brokers|a selling office], [in the amount of|not less than] {pct}.",
        "<seller> [authorizes|permits] a [lockbox|keysafe] and a for-sale sign on the <property>.",
        "If within {n} days after [expiration|termination] the <property> is sold to anyone [shown the property|introduced] by <broker>, the commission is due.",
        "<broker> will [use diligence|make reasonable efforts] to [procure|find] a ready, willing and able purchaser.",
        "<seller> shall refer all [inquiries|offers] [received|] during the listing period to <broker>.",
        "Showings require [{few} hours notice|an appointment|a call to the listing office at {phone}].",
        "<broker> may [advertise|promote] the <property> on the internet, in print and [at open houses|by mail].",
        "<broker> may [act as|represent both parties as] a dual agent [with written consent|].",
        "Should <seller> withdraw the <property> from the market, the [full compensation|sum of {fee}] [becomes|shall be] payable.",
        "The list price is [reduced|changed] to {price} as of {date}.",
        "Photographs, [a virtual tour|floor plans] and signs are [provided by <broker>|at <broker>'s expense].",
        "<seller> represents that no other [broker|brokerage] has a listing [in force|] for the <property>.",
        "The commission is not fixed by law [and is negotiable between <seller> and <broker>|].",
    ),
    fields=(
        "List price; {price}", "Listing date; {day}", "Expiration; {expires}", "Commission; {pct}", "MLS No.; {book}{few}",
        "Listing agent; {agent}", "Listing office; {broker}", "Bedrooms; {few}", "Bathrooms; {few}", "Square feet; {big}",
        "Showing instructions; call {phone}", "Lockbox; [yes|no|front door|gas meter]", "Year built; {built}",
    ),
    checks=(
        "Exclusive right to sell", "Exclusive agency", "Lockbox authorized", "Sign on property", "Internet advertising",
        "Open house permitted", "Pets on premises", "Show to pre-qualified buyers only", "Fireplace", "Attached garage", "Pool or spa",
    ),
    grids=(
        Grid("Property features", "Feature; Main level; Upper level", (
            "Bedrooms; {few}; {few}", "Bathrooms; {few}; {few}", "Kitchen; [gas|electric]; ", "Fireplace; {few}; ", "Floors; [oak|tile]; carpet")),
        Grid("Compensation", "Party; Share; Due", (
            "Listing office; {pct}; at closing", "Selling office; {pct}; at closing", "Transaction fee; flat; {fee}", "Cancellation; flat; {fee}")),
    ),
    signers=("<seller>: {seller}", "<broker>: {broker}", "By: {agent}"),
    mention=(
        "The listing agreement with {broker} [expires|ends] on {expires}.",
        "The <property> has been listed for sale at {price} by {agent} of {broker}.",
        "<seller> pays the [brokerage|listing] commission as [agreed|stated] in the listing.",
    ),
)  # fmt: skip

DISCLOSURE = Kind(
    forms=(
        ("checklist", "Seller's Property Disclosure Statement"), ("checklist", "Real Estate Transfer Disclosure Statement"),
        ("form", "Lead-Based Paint Disclosure"), ("form", "Natural Hazard Disclosure Statement"), ("checklist", "Owner's Questionnaire"),
        ("contract", "Residential Property Condition Disclosure"), ("form", "Agency Disclosure"), ("columns", "Statewide Buyer and Seller Advisory"),
        ("checklist", "Seller's Statement of Condition"), ("letter", "Notice of Known Defects"), ("checklist", "Condition of Property Form"),
        ("contract", "Mold and Environmental Advisory"), ("form", "Supplemental Statement"),
    ),
    issuer=("Association of Realtors, {state}", "{broker}", "Department of Real Estate, State of {state}"),
    headings=(
        "Seller's Awareness", "Structural", "Water and Moisture", "Environmental Hazards", "Appliances and Systems", "Roof and Drainage",
        "Lead-Based Paint", "Hazard Zones", "Neighborhood Conditions", "Legal Matters", "Alterations and Permits", "Buyer's Acknowledgment",
    ),
    sentences=(
        "<seller> [discloses|states] the following with [actual|present] knowledge; this is not a warranty.",
        "This statement is a disclosure of the condition of the <property> as of {day}.",
        "Are you (<seller>) aware of any [significant defects|malfunctions|problems] in the [walls|roof|foundation|plumbing|electrical system]?",
        "<seller> [is not aware|has no knowledge] of [flooding|drainage problems|settling|slippage|soil problems].",
        "<seller> [is aware|knows] of [a past leak|water intrusion|minor cracks|repairs] in the [basement|attic|garage|bathroom], [repaired|treated] on {date}.",
        "Housing built before 1978 may contain lead-based paint; lead exposure is [harmful|especially harmful] to young children.",
        "<buyer> has received the pamphlet [Protect Your Family From Lead in Your Home|on environmental hazards].",
        "The <property> [lies|does not lie] within a [special flood hazard area|very high fire hazard zone|earthquake fault zone].",
        "<seller> [has|has not] made [room additions|alterations|repairs] [without|with] [the necessary permits|building permits].",
        "<buyer> [acknowledges|confirms] receipt of this [statement|disclosure] and may [rescind|cancel] within {few} days of delivery.",
        "Known [asbestos|radon|mold|fuel tanks|lead] on the <property>: [none|yes, explained below|unknown].",
        "If any answer is yes, explain [in detail|on an additional sheet]: [none|see attached|old damage to the fence|repaired by a licensed contractor].",
        "The statement [is made by <seller> and not by|does not bind] the agents.",
        "[A death on the property|Neighborhood noise|An encroachment] within the last [three|five] years: [none known|disclosed].",
        "<seller> shall [amend|correct] this statement if anything [changes|becomes known] before <closing>.",
        "The agent's visual inspection of [accessible areas|the <property>] [reveals no|notes] [visible defects|items of concern].",
        "Smoke detectors and [water heater bracing|carbon monoxide alarms] [are|are not] [in compliance|installed].",
        "<buyer> waives the [10-day|ten day] opportunity to conduct a risk assessment.",
    ),
    fields=(
        "<seller> has owned since; {year}", "Date of statement; {day}", "Year built; {built}", "Known repairs; [none|roof|plumbing|see attached]",
        "Flood zone; [A|X|AE|unknown]", "Fire hazard zone; [yes|no]", "Fault zone; [yes|no]", "Last roof repair; {date}", "Occupied by; [owner|tenant]",
    ),
    checks=(
        "Water intrusion or leaks", "Foundation cracks or settling", "Roof leaks", "Termites or dry rot", "Lead-based paint", "Asbestos",
        "Radon gas", "Mold", "Underground fuel tank", "Room additions without permits", "Flooding or drainage problems", "Fill or unstable soil",
        "Encroachments or easements", "Neighborhood noise", "Pending lawsuits", "Septic system problems", "Fire damage",
    ),
    grids=(
        Grid("Systems and appliances", "Item; Working; Remarks", (
            "Water heater; [yes|no]; [gas|electric|replaced {year}]", "Furnace; [yes|no]; ", "Dishwasher; [yes|no]; ", "Sump pump; [yes|no|none]; ",
            "Smoke detectors; [yes|no]; ", "Sprinklers; [yes|no]; [front only|]")),
        Grid("Known defects", "Area; Aware; Explanation", (
            "Roof; [yes|no]; [repaired {date}|]", "Basement; [yes|no]; [damp in winter|]", "Windows; [yes|no]; ", "Driveway; [yes|no]; cracks")),
    ),
    signers=("<seller>: {seller}", "<buyer>: {buyer}"),
    mention=(
        "<seller> has [delivered|provided] a transfer disclosure statement [dated {date}|] and lead-based paint disclosure.",
        "<buyer> acknowledges receipt of the [seller's disclosures|property disclosure statement|natural hazard disclosure].",
        "Known defects are [listed|described] in the seller's disclosure.",
    ),
)  # fmt: skip
