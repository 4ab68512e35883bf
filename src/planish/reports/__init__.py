"""Pages about runs, to read in a browser. This floor reads and writes files, and opens without torch.

report.py   what `planish report` calls: folders in, one self-contained HTML file out
read/       files into plain values: run, answers, verdicts, ranking, comparison, pipeline, mixture; ppo has series of iterations
series.py   running means, and whether a series moved
text.py     words for numbers, sentences about a run
figures/    plain data for Plotly: base (curves, points, axes), training, preference, ranking, comparison, ppo, ppo_shared
pages/      the sections of a page: run, runs, answers, verdicts, ranking, ppo, comparison, pipeline; inspection is its own page
templates/  their HTML, CSS and JavaScript
"""
