"""The command line: serving, and looking at what would be served.

Nothing is imported here: the first line of the program must be able to guard stdout before anything
else is loaded.
"""
