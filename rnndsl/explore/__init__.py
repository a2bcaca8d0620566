"""Many cells, many tasks, one leaderboard: what can a cell learn, how far back does its memory reach, at what cost?

    candidates   cells of files, folders, the zoo; baselines      shapes, fitting   their sizes          models     a model around one
    plan         what is to be run: cases                         recipe, training  how, and one run     runs       from the queue to a record
    store        the queue, on Optuna's storage                   worker            takes runs           console    what one sees of it
    session      several workers on one plan                      records           runs as plain data   board      of many runs
    wording, table, page, picture, chart, lines                   how a board is shown

Needs `pip install "rnndsl[explore]"`.
"""
