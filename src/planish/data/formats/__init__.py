"""Formats: what a record of any known file format means as a row. Importing this package registers them all."""

from planish.data.formats import demonstrations as demonstrations
from planish.data.formats import dialogues as dialogues
from planish.data.formats import evaluation as evaluation
from planish.data.formats import judged as judged
from planish.data.formats import judgements as judgements
from planish.data.formats import preferences as preferences
from planish.data.formats import tasks as tasks
from planish.data.formats import trees as trees
from planish.data.formats import two_answers as two_answers
from planish.data.formats.registry import FORMATS as FORMATS
from planish.data.formats.registry import import_rows as import_rows
from planish.data.formats.registry import recognize as recognize
from planish.data.formats.registry import stream_rows as stream_rows
