"""The voxels of a file: where its header says they are, and reading them whole or not at all.

streams              compressed data, checked to the end
files                opening only regular files, and only beside the header that names them
layout               the bytes of voxels -> an array, their size checked before memory is taken
binary               voxels under a binary header that nibabel knows
fields               numbers in headers of text
metaimage, nrrd      headers of text -> where the voxels are, and where they lie in space
"""
