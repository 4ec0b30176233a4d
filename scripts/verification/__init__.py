"""`make verify`: its parts, and the record of what each printed when it last ran.

The record is docs/verification.md, a file to commit: `record` reads and writes it, `parts` says what there is and runs it.
"""
