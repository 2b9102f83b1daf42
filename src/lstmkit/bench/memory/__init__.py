"""The long-lag suite: what a recurrent network remembers, by the criteria of those who asked first.

problems draws sequences, rules says what counts as solved, tasks lists both beside the published
figures with one recipe a task, networks and trial learn, suite runs many trials at once, table and
picture show what came of it. problems, rules, tasks and table work without torch.
"""

MODELS = ("rnn", "lstm", "chrono")
