"""How far comparisons can be trusted: `planish feedback report`.

`reading.py` makes ratings of pairs (`ratings.py`) of a database or of files; `agreement.py`, `annotators.py`, `leans.py`,
`noise.py`, `audit.py` and `judges.py` measure; `result.py` is the whole as it is written, `page.py`, `sections.py`,
`figures.py` and `methods.py` show it.
"""
