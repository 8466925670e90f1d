"""Data sets: read once into a store, split by patient, and read back as batches of views.

case, task          a scan as sources yield it; what is segmented
sources/, source_options                          one module per layout of data sets
prepare, preparation/, workers                    from a data set to a store
store, record                                     a store, opened for reading
integrity                                         checksums of its files
split, split_file, choose_split                   patients of each part, and how they are chosen
loader, batch, views, view_options, volumes       from a store to what a method reads
inspection, findings                              what is in a data set, and what is wrong with it
"""
