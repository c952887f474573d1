"""Detectors: pure functions from evidence to one suspicion score per sample.

Nothing in here has met an image, a GPU or the truth; see ``detectors.base`` for the contract and
``detectors.checks`` for the conformance kit that every detector passes.
"""

#: ``sanitizer`` looks for this name to be sure that it imported its own ``detectors`` package.
DISTRIBUTION = "dataset-sanitizer"
