"""From the words of a command line to a dataclass, and from a dataclass to its help.

`spec` reads the fields of a command as arguments, `read` reads words as values of these arguments,
`help` lays them out. What is wrong with a word is an `InputError` in parts, made where it is found.

This is not a library from elsewhere for two reasons. Those that know dataclasses either say what is
wrong only as text for people (argparse, jsonargparse), or as data of a private module (tyro 1.0),
or take longer to import than the whole help may take (cyclopts 5.5: 0.2 s of processor time); with
click 8.5, whose errors do not hold the word that was typed, the reader was longer than this one.
And the commands need little: dataclasses of numbers, texts, paths, choices and flags.
"""
