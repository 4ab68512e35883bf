"""Claims about post-training, put to the test: a file says what is claimed and by which criterion, a ledger what came out.

    claims/E1.yaml    sentence, source, recipe, arms, measures, criteria: written before the runs (`claim.ClaimConfig`)
    recipe            the stages of an arm and a seed (`recipe.pipeline_of`), done by the pipeline under its keys
    measures          numbers from what those stages wrote, by prompt where they can be (`measures.KINDS`)
    verdict           criteria decided over prompts and seeds (`verdict.decide`)
    ledger/E1.json    the criteria and their hash, and what came out (`ledger.Ledger`)

`planish claims` lists them, runs them, shows a page, and runs a seed again to check the ledger.
"""
