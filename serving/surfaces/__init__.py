"""What each surface of an app shows, one module a surface or a family, over a loaded release.

A surface takes a ``Question`` and returns a ``Ranked`` list. ``docs/serving-surfaces.md`` says in words what each answers
and what fills a list that is short.
"""
