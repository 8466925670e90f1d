"""Names and formats of a comparison's files, without anything heavy."""

MATRIX_FILE = "matrix.json"
CELL_FORMAT = 1
