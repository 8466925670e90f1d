"""Decoders written in C run in a process of their own, where a crash or a hang stops no command.

limits      how long a decoder may take and how much memory, by the size that a header announces
guard       this process's side: ask, wait, and end what does not finish
worker      the other process's side
gdcm, hdf5  what is read of DICOM and HDF5 files there
"""
