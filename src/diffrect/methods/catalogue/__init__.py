"""What the options of the methods and of the views are, for people: type, values, a sentence.

`describe` asks a method, which loads PyTorch; `known` reads at once what `docs/tools/generate.py`
has written about the methods of this package into `methods.json`.
"""
