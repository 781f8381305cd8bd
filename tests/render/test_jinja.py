"""Templates: a new report is one file; what it prints is escaped; its mistakes are sentences with a line."""

import json
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from evalkit.errors import UsageError
from evalkit.render.jinja import fill, render_template


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_a_new_report_is_one_template(tmp_path, comparison):
    path = write(
        tmp_path,
        "sign-off.md.j2",
        "# {{ owner }}\n{% for row in table.rows %}\n- {{ row.label }}: {{ row.change | change }} {{ row.verdict | verdict(language) }}\n{% endfor %}\n",
    )
    text = render_template(path, comparison, options={"owner": "Ann <b>"})
    assert text.startswith("# Ann \\<b\\>\n- GPQA Diamond: -0.3 [-1.5, +0.9] EQUIVALENT\n")
    assert text.count("\n") == 1 + len(comparison.suites)
    assert "- MuSR 多步推理: -7.1 [-9.0, -5.2] 下降 DEGRADED" in render_template(
        path, comparison, language="zh", options={"owner": "x"}
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html.j2", "&lt;b&gt;x&lt;/b&gt;|=HYPERLINK(&#34;a&#34;) \\end{tabular} &amp; 100% <i>+1"),
        ("a.md.j2", '\\<b\\>x\\</b\\>\\|=HYPERLINK("a") \\\\end{tabular} \\& 100% <i>+1'),
        ("a.tex.j2", r"\textless{}b\textgreater{}x\textless{}/b\textgreater{}\textbar{}=HYPERLINK(\char34{}a\char34{}) \textbackslash{}end\{tabular\} \& 100\% <i>$+1$"),
        ("a.csv.j2", '"<b>x</b>|=HYPERLINK(""a"") \\end{tabular} & 100%" <i>+1'),
        ("a.txt.j2", '<b>x</b>|=HYPERLINK("a") \\end{tabular} & 100% <i>+1'),
    ],
)  # fmt: skip
def test_every_format_escapes_by_itself(tmp_path, comparison, name, expected):
    path = write(
        tmp_path,
        name,
        '{{ comparison.suites[-1].label }} {{ "<i>" | raw }}{{ table.macro.suites / 5 | int - 0 | int | int }}',
    )
    path = write(tmp_path, name, "{{ comparison.suites[-1].label }} <i>{{ one | signed }}")
    assert render_template(path, comparison, options={"one": Decimal(1)}) == expected


def test_raw_and_own_filters(tmp_path, comparison):
    path = write(
        tmp_path,
        "a.md.j2",
        '{{ "<i>" | raw }} {{ "{x}|{y}" | say(x=1, y="_z") }} {{ none | change("none") }} {{ none | bounds }} {{ none | plain }}',
    )
    assert render_template(path, comparison) == "<i> 1\\|\\_z none — —"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n{{ tabel }}", r"a.md.j2 line 2: 'tabel' is undefined"),
        ("a\nb\n{{ table.colour }}", r"line 3: .*no attribute 'colour'"),
        ("{% for x in %}", r"a.md.j2 line 1: "),
        ("\n{% include 'nothing.md.j2' %}", r"nothing.md.j2"),
        ("\n{% include '../../../etc/passwd' %}", r"passwd"),
        ("{{ ''.__class__.__mro__ }}", r"line 1: .*unsafe"),
        ("{{ table.rows.__class__ }}", r"line 1: .*unsafe"),
        ("{{ comparison.reference.versions.clear() }}", r"line 1: .*unsafe"),
        ("{{ '%s' | format(table.__init__.__globals__) }}", r"unsafe"),
        ("{{ '{0.__class__}'.format(1) }}", r"unsafe"),
        ("{{ '{x.__class__}' | say(y=1) }}{{ '{x}' | say(y=1) }}", r"'x'"),
        ("{{ range(100000000) | list }}", r"too big"),
        ("\n\n{{ 1 / 0 }}", r"line 3: division by zero"),
        ("{{ table.rows[99].label }}", r"undefined|no element"),
        ("{{ comparison.suites[-1].difference }}", r"line 1: a missing value \(None\) is printed"),
    ],
)
def test_a_wrong_template_is_a_sentence_with_its_line(tmp_path, comparison, text, sentence):
    path = write(tmp_path, "a.md.j2", text)
    with pytest.raises(UsageError, match=sentence):
        render_template(path, comparison)


def test_names_say_the_format(tmp_path, comparison):
    for name in ("a.j2", "a.exe.j2", "a.md"):
        with pytest.raises(UsageError, match=r"name it NAME\.FORMAT\.j2"):
            render_template(write(tmp_path, name, ""), comparison)
    with pytest.raises(UsageError, match="there is no template"):
        render_template(tmp_path / "none.md.j2", comparison)


def test_a_template_includes_its_neighbours_and_evalkits_own(tmp_path, comparison):
    write(tmp_path, "footer.md.j2", "the end")
    path = write(tmp_path, "a.md.j2", "{% include 'table.md.j2' %}{% include 'footer.md.j2' %}")
    text = render_template(path, comparison, options={"behaviour": False})
    assert text.startswith("| Suite |")
    assert text.endswith("the end")


def test_what_xml_and_json_print_stays_a_value(tmp_path):
    hostile = 'a" b=\'<x>&\n\t\x00"}'
    (tmp_path / "one.xml.j2").write_text('<a v="{{ text }}">{{ text | text }}</a>')
    root = ET.fromstring(fill(tmp_path / "one.xml.j2", {"text": hostile}))
    assert (root.get("v"), root.text, len(root.attrib)) == (*[hostile.replace("\x00", "\ufffd")] * 2, 1)
    (tmp_path / "one.json.j2").write_text('{"text": {{ text }}, "none": {{ none }}, "number": {{ 0.1 + number }}}')
    assert json.loads(fill(tmp_path / "one.json.j2", {"text": hostile, "number": 2})) == {
        "text": hostile,
        "none": None,
        "number": 2.1,
    }
