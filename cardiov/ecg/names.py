"""The vocabulary of lead names, one for all formats."""

import re

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_LEAD_OF = {lead.upper(): lead for lead in LEADS}
_AFFIXES = re.compile(r"^(?:(?:MDC_ECG_LEAD|ECG|EKG|LEAD)[ _-]*)+|\s*\(.*\)$")  # "LEAD I (EINTHOVEN)"


def lead_of(name) -> str | None:
    """The lead that a signal's name stands for, such as "MDC_ECG_LEAD_AVR" for aVR; None for another signal."""
    return _LEAD_OF.get(_AFFIXES.sub("", (name or "").strip().upper()))
