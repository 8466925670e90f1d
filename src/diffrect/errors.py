"""The one exception that means: what the user gave us is wrong."""


class InputError(ValueError):
    """Bad input from outside: a file, a folder, an option.

    The message is one line that names the file or option, what was expected and what came. The
    command line prints it alone and exits with code 2; any other exception is a programming error
    and keeps its traceback.
    """
