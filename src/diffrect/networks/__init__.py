"""The networks: segmenter, rectifier and what they are made of, as functions of tensors only."""
