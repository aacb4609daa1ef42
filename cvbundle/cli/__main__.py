"""`python -m cvbundle.cli`, for whoever has no `cvbundle` on the path.

Unlike the script, Python looks for modules in the current folder then: before anything of ours is
read, so only `python -P -m cvbundle.cli` is for a stranger's folder.
"""

from cvbundle.cli import script

script()
