"""Events in; tables, sequences, splits, panels and release manifests out.

The centre of the star: ``training`` and ``serving`` import from here and never from each other.
Nothing in this package imports torch, lightning, mlflow, faiss or bentoml.
"""
