"""Worlds: small made-up worlds in which every fact, request and preference is known, so that claims can be tested.

The way of a world, from a seed to files and judgements:

1. settings    `settings.WorldConfig`: the seed and the size of everything below. The same settings give the same bytes.
2. language    `language/words.Words`, the vocabulary; `language/facts.Facts`, what is true, what the corpus states of it and how
               often; `phrases`, `skills`, `rules` and `harm`, the sentences, tasks, rules of form and requests.
3. texts       `texts/corpus.corpus`, documents for the base model; `texts/requests.PromptMaker`, a `WorldPrompt` of each kind;
               `texts/sources.Sources`, demonstrations; `texts/prompts` and `texts/questions`, prompts without answers.
4. gold        `texts/parse.parse_prompt` reads a prompt back; `gold/utility.World` gives an answer its `Verdict`, the gold
               utility with its terms.
5. annotators  `annotators/pools.make_pool` makes a `Pool` of simulated `Annotator`s, who rank answers by gold utility with
               known errors and biases; `annotators/compare.comparisons` writes their rankings.
6. files       `make.make_world` writes all of it, with `world.json`; `make.open_world` makes the world again to judge answers.
7. judgements  `gold/files.judge_file` judges the answers of a run; `annotators/recovery` finds an annotator's biases again.
"""
