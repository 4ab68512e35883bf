"""Data: any file becomes typed rows, tokenized examples and, in the end, packed rows.

The way of a row, from recipes/data/alpaca.json to a gradient:

1. file        `files/readers.py` finds the file (path, folder, PyPI package or hub dataset) and picks a reader by its ending;
               `files/text.py` unpacks and decodes it, `files/json_stream.py` and `files/columns.py` parse it piece by piece.
2. record      `readers.Record`: one value of the file, such as {"instruction": …, "output": …}, with its `Origin` (file, row).
3. row         `formats/registry.py` recognizes the format by the record's fields; its importer, here `demonstrations.alpaca`,
               makes a `rows.Demonstration` of it (elsewhere a `Text`, `Comparison`, `Prompt`, …), or a `Dropped` with a reason.
4. kept row    `sources.prepare_sources` reads all rows once for their digests: `cleaning/run.py` says which are left out, the
               seed which are held out. Then it reads them again for good.
5. example     `chat/templates.ChatTemplate` renders the row and finds the spans that are learnt, `chat/masks.py` the loss mask of
               its tokens: `Encoded`. `examples.encode_into` appends that to `Examples`, a file mapped into memory, whose items
               are `base.types.Example`s.
6. order       `mixture/plan.plan_mixture` counts the rows of every source in every stage; `mixture/order.Mixture` names the
               row at any position of that order, and `train/feed.MixtureFeed` cuts the order into steps.
7. packed row  `mixture/packing.deal` shares a step out over ranks and micro-batches; `base.types.pack` lays the examples of
               one end to end in a `Packed`, without padding.
8. loss        `models/packed.CausalLM` runs the row through the model, `methods/supervised.NextTokenLoss` sums the loss of its
               learnt tokens, and `train/loop.train` divides by the weight of the whole step and calls `backward`.

`inspect/` shows stages 1 to 5 for any file without a run, and converts files; `prompts.py` is stage 4 for PPO.
"""
