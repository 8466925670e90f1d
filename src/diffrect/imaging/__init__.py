"""Scans as arrays: files are read, cut into slices, scaled, resampled and written back.

volume              a scan with its geometry
kinds, find         which files are images, and the images in a folder
read                any image or label file as a volume
nifti, itk, dicom, dicom_header, picture, decode      one module per kind of file
voxels              where a header says that voxels are, and reading them whole
decoders            decoders written in C, in a process of their own
label_codes, channels, geometry                       agreement of labels and channels with an image
slicing, intensity, resample, components              from volumes to inputs of networks, and back
write               labels and probabilities on the grid of their image
"""
