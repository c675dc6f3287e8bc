import re
import shutil
import subprocess

import pytest

from jaxgpt.lab.report.latex import escape, latex

ODD = r"a_b & 50% of #1 {x} $y$ ~ ^ \cmd [z] < > | café σ≥2 Δ −3 ± 1×10⁻¹² “q” …"


def test_text_is_escaped_whole():
    told = escape(ODD)
    assert r"a\_b \& 50\% of \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{}cmd" in told
    assert r"$\sigma$" in told and r"$\Delta$" in told and r"$-$3 $\pm$ 1$\times$10$^{-12}$" in told
    assert "café" in told and "U+2265" in told
    plain = re.sub(r"\\[&%$#_{}]|\\[a-z]+|\$[^$]*\$", "", told)
    assert not re.search(r"[&%#_~^\\]", plain)


@pytest.mark.parametrize("which", ["swept", "factored", "laddered", "budgeted"])
def test_tables_are_balanced_and_every_row_is_full(which, request):
    text = latex(request.getfixturevalue(which))
    columns = 0
    for line in text.splitlines():
        if found := re.match(r"\\begin\{tabular\}\{@\{\}(l)(r*)@\{\}\}", line):
            columns = len(found[1] + found[2])
        elif line.endswith(r" \\"):
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") > 0
    for rule in ("top", "mid", "bottom"):
        assert text.count(f"\\{rule}rule") == text.count(r"\begin{tabular}")


def test_the_caption_tells_question_seeds_test_and_adjustment(factored, laddered):
    text = latex(factored)
    assert "Which matters: positions or width?" in text and "mean over n = 8 seeds" in text
    assert "two-sided paired t test, Holm's adjustment over 3 planned contrasts, Benjamini and Hochberg's q" in text
    assert r"\label{tab:factored}" in text and r"rotary $-$ learned" in latex(laddered)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex and booktabs")
def test_it_compiles_as_part_of_a_paper(factored, laddered, budgeted, tmp_path):
    parts = "\n".join(latex(found) for found in (factored, laddered, budgeted))
    paper = (
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{escape(ODD)}\n{parts}\\end{{document}}"
    )
    (tmp_path / "paper.tex").write_text(paper)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
