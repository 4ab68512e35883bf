"""Pages about runs, for reading in a browser. This floor reads and writes files, and opens without torch.

runs.py         a run's folder as it was written, finished or not
sentences.py    numbers, and what they say, in words
figures.py      curves, as plain data for Plotly's JavaScript
preferences.py  the curves of runs that learn from comparisons
ranking.py      how well their scores rank
answers.py      completions recorded on the way, by prompt
verdicts.py     what a world says of them, where it was asked
page.py         one self-contained HTML file, laid out by page.html
"""
