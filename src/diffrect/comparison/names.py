"""Names of what the folder of a comparison holds, and versions of its formats.

FOLDER/matrix.json          the cells that comparisons in this folder have planned
FOLDER/CELL/                a RUN folder per cell, with metrics_SPLIT.json and cell.json
FOLDER/.locks/CELL.json     which process works on a cell
FOLDER/report_SPLIT/        tables and plots of the finished cells
"""

MATRIX_FILE = "matrix.json"
MATRIX_FORMAT = 1  # version of matrix.json
CELL_FORMAT = 1  # version of cell.json
LOCKS_FOLDER = ".locks"
