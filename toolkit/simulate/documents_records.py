"""Wording of recorded and financial papers: mortgage, title and tax documents."""

from __future__ import annotations

from toolkit.simulate.documents_kinds import Grid, Kind

MORTGAGE = Kind(
    forms=(
        ("recorded", "Deed of Trust"), ("contract", "Promissory Note"), ("recorded", "Mortgage"), ("form", "Uniform Residential Loan Application"),
        ("table", "Loan Estimate"), ("table", "Closing Disclosure"), ("contract", "Adjustable Rate Note"), ("letter", "Loan Commitment Letter"),
        ("statement", "Mortgage Statement"), ("letter", "Notice to Borrower"), ("contract", "Loan Modification Agreement"),
        ("form", "Truth in Lending Statement"), ("table", "Payment Schedule"),
    ),
    issuer=("{lender}", "{lender}", "{lender}"),
    headings=(
        "Borrower's Promise to Pay", "Interest", "Payments", "Security", "Late Charges", "Acceleration", "Escrow Account", "Prepayment",
        "Transfer of Rights in the Property", "Loan Terms", "Projected Payments", "Hazard Insurance", "Default and Foreclosure", "Cash to Close",
    ),
    sentences=(
        "In return for a loan [received|that I have received], <borrower> promises to pay {loan_amount} [plus interest|with interest] to {lender}.",
        "Interest will be charged on unpaid principal at a yearly rate of {rate}.",
        "<borrower> will make [monthly payments|payments] of {payment} [on the first day of each month|beginning on {date}].",
        "[Loan number|Loan No.|Loan #] {loan} is secured by a [first lien|deed of trust|mortgage] on the <property>.",
        "<borrower> irrevocably grants and conveys to Trustee, in trust, with power of sale, the <property>.",
        "If a payment is more than {n} days late, <borrower> will pay a late charge of {pct} of the overdue payment.",
        "<lender> may require immediate payment in full of all sums secured [if the <property> is sold|upon default].",
        "<borrower> has the right to [prepay|make payments of principal] at any time [without penalty|before they are due].",
        "The maturity date [of this loan|] is [thirty|fifteen] years from {date}.",
        "The annual percentage rate is {rate} and the [amount financed|loan amount] is {loan_amount}.",
        "<borrower> shall pay to <lender> [funds for escrow items|one twelfth of yearly taxes and insurance] with each payment.",
        "<borrower> shall keep the improvements insured against [fire|hazards|loss by flood] with {lender} as loss payee.",
        "The interest rate may change on {date} and every [six|twelve] months [thereafter|after that].",
        "The [unpaid principal balance|outstanding principal] as of {date} is {loan_amount}.",
        "Your loan has been [approved|conditionally approved] subject to [verification of employment|a satisfactory appraisal].",
        "This rate lock [expires|ends] on {date}.",
        "[Notice of default|A notice of intent to accelerate] will be mailed at least thirty days before [foreclosure|sale].",
        "<borrower> [certifies|states] that the <property> will be occupied as a [principal residence|second home].",
        "The loan is [assumable|not assumable] and has [no|a] [balloon payment|prepayment penalty].",
    ),
    fields=(
        "Loan No.; {loan}", "Loan Number; {loan}", "<borrower>; {buyer}", "<lender>; {lender}", "Loan amount; {loan_amount}", "Interest rate; {rate}",
        "Monthly payment; {payment}", "First payment date; {date}", "Loan officer; {officer}", "Term; [30 years|15 years|360 months]",
        "Product; [fixed rate|5/1 adjustable]", "Gross monthly income; {payment}", "NMLS ID; {book}{few}",
    ),
    checks=(
        "Fixed rate", "Adjustable rate rider", "Balloon payment", "Prepayment penalty", "Escrow account required", "Purchase", "Refinance",
        "Primary residence", "Second home", "Private mortgage insurance", "Co-borrower",
    ),
    grids=(
        Grid("Projected payments", "Payment; Years 1-7; Years 8-30", (
            "Principal and interest; {payment}; {payment}", "Mortgage insurance; {fee}; ", "Estimated escrow; {fee}; {fee}", "Total; {payment}; {payment}")),
        Grid("Loan costs", "Description; Borrower paid; Lender paid", (
            "Origination fee; {fee}; ", "Appraisal fee; {fee}; ", "Credit report; {fee}; ", "Flood certification; {fee}; ", "Discount points; {fee}; {fee}")),
        Grid("Schedule of payments", "Due; Interest; Principal; Balance", (
            "{date}; {fee}; {fee}; {loan_amount}",) * 6),
    ),
    signers=("<borrower>: {buyer}", "<lender>: {lender}", "By: {officer}"),
    mention=(
        "<buyer> has [applied for|obtained] a loan of {loan_amount} from {lender} at {rate}.",
        "The deed of trust in favor of {lender} secures loan number {loan}.",
        "The existing mortgage of {loan_amount} will be [paid off|satisfied] at <closing>.",
    ),
)  # fmt: skip

TITLE = Kind(
    forms=(
        ("recorded", "Grant Deed"), ("recorded", "Warranty Deed"), ("recorded", "Quitclaim Deed"), ("contract", "Commitment for Title Insurance"),
        ("table", "Preliminary Report"), ("contract", "Owner's Policy of Title Insurance"), ("letter", "Abstract of Title"),
        ("recorded", "Affidavit of Title"), ("recorded", "Easement Agreement"), ("table", "Schedule B Exceptions"),
        ("form", "Title Order and Vesting"), ("recorded", "Release of Lien"), ("recorded", "Certificate"),
    ),
    issuer=("{title_company}", "{title_company}", "Recorder of {county}"),
    headings=(
        "Schedule A", "Schedule B", "Exceptions from Coverage", "Legal Description", "Vesting", "Covered Risks", "Requirements",
        "Encumbrances", "Chain of Title", "Easements", "Conditions", "Consideration", "Habendum",
    ),
    sentences=(
        "For valuable consideration, receipt of which is acknowledged, {seller} hereby [grants|conveys] to {buyer} the following real property.",
        "Lot {few}, Block {n} of Tract No. {book}, as per map recorded in Book {book}, Page {n} of Maps, in the office of the recorder of {county}.",
        "Title to the estate is vested in {seller}, [a married couple|an unmarried person|as joint tenants|as community property].",
        "[Grantor|The grantor] covenants that [the grantor is lawfully seized in fee simple|the premises are free of encumbrances].",
        "Subject to [covenants, conditions and restrictions|easements|rights of way] of record, [recorded|filed] {date} in Book {book}, Page {n}.",
        "Beginning at [an iron pin|a stake|a stone monument] on the [north|south|east|west] line, thence [North|South] {n} degrees East {book} feet.",
        "An easement for [public utilities|ingress and egress|drainage] [affects|burdens] the [westerly|northerly] {few} feet of said land.",
        "The policy [insures|covers] [the insured|the proposed insured] against loss by reason of defects in the title, up to {price}.",
        "The estate or interest in the land [described here|] is [a fee|fee simple].",
        "To have and to hold the same unto the said grantee, [heirs and assigns forever|and to their successors].",
        "General and special taxes for the fiscal year {year} are [a lien not yet payable|paid].",
        "A deed of trust securing {loan_amount} in favor of {lender}, recorded {date}, [is to be released|remains of record].",
        "{title_company} [commits to issue|will issue] its policy upon [payment of the premium|satisfaction of the requirements].",
        "The company has searched the [public records|grantor and grantee indexes] through {date}.",
        "Grantor [remises, releases and quitclaims|releases] all right, title and interest in the described parcel.",
        "Before me, {notary}, a notary public, personally appeared {seller}, known to me to be the person [who signed|named above].",
        "The lien recorded as Instrument No. {book}{n} is hereby [released|satisfied] and discharged of record.",
        "[Rights of parties in possession|Matters that a survey would disclose|Unrecorded liens] are excepted [from coverage|].",
    ),
    fields=(
        "Order No.; {ref}", "Title officer; {officer}", "Vesting; {seller}", "Grantor; {seller}", "Grantee; {buyer}", "Policy amount; {price}",
        "Recorded; {date}", "Book and page; {book} / {n}", "Effective date; {date}", "Premium; {fee}", "Instrument No.; {book}{n}",
    ),
    checks=(
        "Fee simple", "Joint tenancy", "Community property", "Tenants in common", "Easements of record", "Survey required", "Extended coverage",
        "Standard coverage", "Documentary transfer tax computed on full value",
    ),
    grids=(
        Grid("Exceptions", "No.; Instrument; Recorded", (
            "{few}; Easement; {date}", "{few}; Restrictions; {date}", "{few}; Deed of trust; {date}", "{few}; Right of way; {date}", "{few}; Lease; {date}")),
        Grid("Chain of title", "Grantor; Grantee; Recorded", (
            "{person}; {person}; {date}", "{person}; {person}; {date}", "{person}; {seller}; {date}", "{seller}; {buyer}; {day}")),
    ),
    signers=("Grantor: {seller}", "Notary: {notary}", "Title officer: {officer}"),
    mention=(
        "{title_company} will [issue a title policy|insure the title] in the amount of {price}.",
        "Title is [held|vested] as shown in the grant deed recorded {date}.",
        "The preliminary title report [shows|lists] [one easement|no liens] of record.",
    ),
)  # fmt: skip

TAX = Kind(
    forms=(
        ("statement", "Secured Property Tax Bill"), ("statement", "Real Estate Tax Statement"), ("table", "Property Record Card"),
        ("letter", "Notice of Assessed Value"), ("table", "Assessment Roll Extract"), ("statement", "Supplemental Tax Bill"),
        ("form", "Application for Homestead Exemption"), ("letter", "Notice of Delinquent Taxes"), ("recorded", "Tax Certificate"),
        ("form", "Assessment Appeal Application"), ("table", "Statement of Account"), ("statement", "Annual Notice"), ("form", "Certificate of Payment"),
    ),
    issuer=("{county} Tax Collector", "Office of the Assessor, {county}", "{county} Treasurer"),
    headings=(
        "Assessed Values", "Tax Rates", "Installments", "Exemptions", "Special Assessments", "Delinquency", "Appeals", "Payment Instructions",
        "Valuation Summary", "Taxing Agencies", "Land and Improvements",
    ),
    sentences=(
        "Taxes for the fiscal year {year} [are due|become payable] in two installments.",
        "The [first|second] installment of {fee} is due {date} and [delinquent|becomes delinquent] after {closing}.",
        "The assessed value of land is {land} and of improvements {assessed}.",
        "The taxable value after exemptions is {assessed}; the total tax is {tax}.",
        "A penalty of {pct} [is added|attaches] to [late|delinquent] payments, [plus a {fee} cost|].",
        "The assessor [determined|has set] the market value on the lien date of {year} as {price}.",
        "You may [appeal|protest] the valuation [to the assessment appeals board|to the board of equalization] by {date}.",
        "The homeowner's exemption of {fee} [has been applied|is not claimed].",
        "Make checks payable to the {county} Tax Collector and write the parcel number {apn} on your check.",
        "Special assessments for [sewer|lighting|schools|flood control] are [included|levied] in the amount of {fee}.",
        "The tax rate [area|] is {book}-{n}; the rate per hundred dollars of value is {few}.{n}.",
        "Property [in default|tax-defaulted] for {few} years is subject to the [power to sell|tax sale] of the tax collector.",
        "This bill reflects a [change in ownership|reassessment|new construction] on {date}.",
        "Building: [one story|two story] [frame|brick] dwelling of {big} square feet, [average|good] condition, built {built}.",
        "All taxes on the parcel have been paid [in full|] through {date}.",
        "The owner [of record|] on the lien date is liable for the tax [whether or not a bill is received|].",
        "Millage: county {few}.{n}, school district {n}.{few}, library {few}.{few}.",
        "Return the stub with your payment [of {tax}|] [postmarked|received] by {date}.",
    ),
    fields=(
        "Assessed value; {assessed}", "Land; {land}", "Improvements; {assessed}", "Tax year; {year}", "Total tax; {tax}", "Tax rate area; {book}-{n}",
        "Bill No.; {ref}", "Assessed owner; {seller}", "Exemption; {fee}", "Due date; {date}", "Lot size; {big} sq ft", "Use code; {book}",
    ),
    checks=(
        "Homestead exemption claimed", "Senior citizen exemption", "Veteran's exemption", "Owner occupied on lien date", "First installment paid",
        "Second installment paid", "Delinquent", "Appeal of value", "Mailing address changed",
    ),
    grids=(
        Grid("Taxing agencies", "Agency; Rate; Amount", (
            "{county} general; {rate}; {fee}", "School district; {rate}; {fee}", "Library; {rate}; {fee}", "Flood control; {rate}; {fee}",
            "Sanitation; {rate}; {fee}", "Fire district; {rate}; {fee}")),
        Grid("Valuation", "Class; Prior year; Current year", (
            "Land; {land}; {land}", "Improvements; {assessed}; {assessed}", "Personal property; {fee}; {fee}", "Exemption; {fee}; {fee}", "Net taxable; {assessed}; {assessed}")),
        Grid("Payment history", "Year; Paid on; Amount", ("{year}; {date}; {fee}",) * 5),
    ),
    signers=("Collector: {officer}", "Assessor: {officer}"),
    mention=(
        "Property taxes of {tax} for {year} [are prorated|will be prorated] at <closing>.",
        "The tax bill for parcel {apn} shows an assessed value of {assessed}.",
        "The second installment of property taxes is [due|payable] on {date}.",
    ),
)  # fmt: skip
