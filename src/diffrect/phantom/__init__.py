"""Synthetic cardiac MR: short-axis hearts with exact labels, written in the layout of ACDC.

A patient is drawn in four steps: a heart (`heart`), its surroundings (`thorax`), the tissue at
every point of a plane (`paint`, `paint_heart`), and the picture that a scanner makes of it
(`scanner`). `patient` takes these steps from a seed, and `write` writes the files. Sizes, volumes
and motion follow figures from patients; no scan of a patient has gone into it.
"""
