"""One step of unsupervised SimCSE as bench/simcse_step.py has it: BERT base, 512 sentences, bfloat16."""

from our_step import OurStep
from peer import PeerError, missing, turns
from simcse_step import peer_of, plain_loss, sentences, setting

from gpu.part import Report, Wrong

NEAR = 0.02
"""Between losses in bfloat16, which has 8 bits."""


def measure(report: Report) -> None:
    """Sentences per second of both, after the same loss without dropout."""
    run = (
        setting("minilm_l6", 8, "bfloat16", num_layers=1) if report.small else setting("base_uncased", 512, "bfloat16")
    )
    batch = sentences(run.batch_size)
    report.at("compiling ours")
    ours = OurStep(run, batch)
    report.figure("compile_seconds", ours.compile_seconds)
    rounds, count = (2, 1) if report.small else (7, 5)
    calls = {"ours": lambda: ours.block(count)}
    loss = plain_loss(run, ours, batch)
    report.figure("loss", loss)
    lacks = missing("torch", "sentence_transformers")
    if lacks:
        report.note(lacks)
        report.figure("sentences_per_second", run.batch_size / turns(calls, rounds)["ours"])
        return
    report.at("starting sentence-transformers")
    with peer_of(run, ours, batch) as peer:
        try:
            theirs = peer.ask("loss")
            report.figure("loss_difference", abs(loss - theirs))
            if abs(loss - theirs) > NEAR:
                raise Wrong(f"without dropout the losses are {loss:.4f} and {theirs:.4f}")
            calls["sentence_transformers"] = lambda: peer.ask("block", count)
        except PeerError as error:
            report.note(str(error))
        report.at("timing")
        took = turns(calls, rounds, 1, report.note)
    report.figure("sentences_per_second", run.batch_size / took["ours"])
    if "sentence_transformers" in took:
        report.figure("sentence_transformers_per_second", run.batch_size / took["sentence_transformers"])
        report.figure("over_sentence_transformers", took["sentence_transformers"] / took["ours"])
