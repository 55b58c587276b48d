"""What the nine types of document say: forms (layout and title), sentences, headings, fields, checks, tables.

Patterns are those of `documents_facts.worded`. What all types share, and what each says of the others, is here;
the types' own wording is in `documents_deals`, `documents_records` and `documents_homes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table: header and rows, cells parted by `;`."""

    title: str
    header: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A type of document. forms: layout and title, one for each template; `mention`: how other types speak of it."""

    forms: tuple[tuple[str, str], ...]
    issuer: tuple[str, ...]  # whose letterhead, as patterns
    headings: tuple[str, ...]
    sentences: tuple[str, ...]
    fields: tuple[str, ...]
    checks: tuple[str, ...]
    grids: tuple[Grid, ...]
    signers: tuple[str, ...]
    mention: tuple[str, ...]


def kinds() -> Mapping[str, Kind]:
    """Type → what it says."""
    from toolkit.simulate import documents_deals, documents_homes, documents_records

    return {
        "purchase_agreement": documents_deals.PURCHASE, "listing_agreement": documents_deals.LISTING,
        "disclosure_form": documents_deals.DISCLOSURE, "inspection_report": documents_homes.INSPECTION,
        "mortgage_docs": documents_records.MORTGAGE, "title_docs": documents_records.TITLE,
        "tax_records": documents_records.TAX, "hoa_docs": documents_homes.HOA, "other": documents_homes.OTHER,
    }  # fmt: skip


SENTENCES = (
    "This [document|form|paper] concerns the <property> [located at|known as|commonly known as] {address}.",
    "The <property> is [situated|located] in {county}, State of {state}, [Assessor's Parcel Number|APN|Parcel No.] {apn}.",
    "Time is of the essence [in all matters|with respect to all dates stated here|].",
    "All notices [shall|must|will] be given in writing and delivered [in person|by mail|by electronic mail] to the address stated above.",
    "This <agreement> may be signed in counterparts, [each of which is an original|including by electronic signature].",
    "If any provision is held [invalid|unenforceable], the remaining provisions [shall continue|remain] in full force and effect.",
    "[The parties|Both parties|All parties] acknowledge that they have read and understand [this page|the foregoing|each page].",
    "No [representation|warranty|promise] has been made except as [expressly stated|set forth] in writing.",
    "The parties are advised to [consult|seek the advice of] an attorney, accountant or other [qualified|appropriate] professional.",
    "[Please|Kindly] call {phone} [with any questions|if you have questions|for further information].",
    "A copy of this [document|page|form] [was delivered|has been given] to <buyer> and <seller> on {date}.",
    "The words <buyer> and <seller> include [the plural|their heirs and assigns] where the context requires.",
    "Amounts are stated in U.S. dollars; [estimates may change|figures are rounded|see the reverse side for details].",
    "The [undersigned|parties] [agree|confirm] that facsimile and electronic copies [have the same effect as|are as valid as] the original.",
    "This [document|information] is believed to be [accurate|reliable] but is not [guaranteed|warranted].",
    "Any [dispute|controversy] [arising out of this matter|between the parties] shall first be submitted to [mediation|arbitration].",
    "The [effective date|date] of this document is {day}.",
    "[It was prepared|Prepared] by {agent}, telephone {phone}.",
    "<closing> is [expected|scheduled] [on or about|on|by] {closing}.",
    "The [purchase price|sale price|price] of the <property> is {price}.",
    "The [current|present] owner of [record|the <property>] is {seller}.",
    "Interested persons may [inspect|obtain] copies at the office of {title_company}.",
    "This page [is not complete without|forms part of] the [attachments|exhibits] [listed below|named above].",
    "Failure to [respond|reply] within {n} days [will be deemed|is considered] [consent|approval].",
    "[Keep|Retain] this [page|document] for your records.",
    "<buyer> is {buyer} and <seller> is {seller}.",
)  # fmt: skip
HEADINGS = (
    "General", "Notices", "Definitions", "Miscellaneous", "Additional Terms", "Parties", "Property", "Dates", "Remarks",
    "Information", "Summary", "Attachments", "Acknowledgment", "Instructions", "Other Provisions",
)  # fmt: skip
FIELDS = (
    "Property Address; {address}", "Date; {day}", "APN; {apn}", "<buyer>; {buyer}", "<seller>; {seller}", "County; {county}",
    "Prepared by; {agent}", "Phone; {phone}", "Parcel No.; {apn}", "Reference; {ref}", "File No.; {ref}", "Owner; {seller}",
    "State; {state}", "Brokerage; {broker}",
)  # fmt: skip
CHECKS = (
    "Copy received", "See attached sheet", "Not applicable", "Original to follow by mail", "Additional pages attached",
    "I have read and understand the above", "Owner occupied", "Single family residence", "Condominium or townhouse",
)  # fmt: skip
GRIDS = (
    Grid("Important dates", "Item; Date; Initials", (
        "Document received; {date}; ", "Review [period ends|complete]; {closing}; ", "<closing>; {closing}; ", "Copies mailed; {date}; ",
        "Deposit received; {day}; ")),
    Grid("Amounts", "Description; Reference; Amount", (
        "Deposit; {ref}; {deposit}", "Fees; {ref}; {fee}", "Prorated taxes; {apn}; {fee}", "Balance; {ref}; {money}",
        "Association dues; {ref}; {dues}", "Recording; {ref}; {fee}")),
    Grid("Contacts", "Name; Role; Telephone", (
        "{agent}; Agent; {phone}", "{buyer}; <buyer>; {phone}", "{seller}; <seller>; {phone}", "{officer}; Officer; {phone}",
        "{title_company}; Escrow; {phone}")),
)  # fmt: skip
