"""What goes wrong from outside: damaged files, killed processes, two writers at one time.

Long runs that count outcomes; their short cuts are tests. Not here: what is timed or counted of
code that runs undisturbed.
"""
