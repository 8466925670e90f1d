"""Synthetic cardiac MR: short-axis hearts with exact labels, written in the layout of ACDC.

Drawn in four steps: a heart (`heart`), what surrounds it (`thorax`), the tissue at every point of
a plane (`paint`), the picture a scanner makes of it (`scanner`). Sizes, volumes and motion follow
figures from patients; no scan of a patient has gone into it.
"""

from diffrect.phantom.heart import GROUPS
from diffrect.phantom.patient import Frame, PhantomPatient, phantom_patient
from diffrect.phantom.write import write_phantom

__all__ = ["GROUPS", "Frame", "PhantomPatient", "phantom_patient", "write_phantom"]
