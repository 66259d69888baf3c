"""What the rows of the features experiment say."""

from codenoise.evaluation.experiment import Section


def section(frame):
    return Section("measured")
