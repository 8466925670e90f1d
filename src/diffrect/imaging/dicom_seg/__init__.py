"""Labels of a DICOM series as a DICOM segmentation, the object that archives and viewers take.

Only this folder reads and writes who the patient is: a segmentation is filed with its scan. Its
modules need highdicom (extra `dicom`).
"""
