"""Command lines that nobody should write: DATA is a good source, OUT a free place beside it; each must end with 2."""

from __future__ import annotations

from tests.hostile.book import Book

#: The words, and what the one line on stderr has to name.
ARGUMENTS: Book[tuple[str, ...]] = Book()

SCAN = ("scan", "DATA", "--out", "OUT")

for name, words, named in (
    ("unknown_flag", (*SCAN, "--k", "-1"), "--k"),
    ("unknown_command", ("scna", "DATA"), "scna"),
    ("flag_without_its_value", ("scan", "DATA", "--out"), "--out"),
    ("two_sources", ("scan", "DATA", "DATA", "--out", "OUT"), "unexpected"),
    ("five_thousand_sources", ("scan", *["DATA"] * 5000, "--out", "OUT"), "unexpected"),
    ("source_of_nothing", ("scan", "", "--out", "OUT"), "empty"),
    ("source_of_blanks", ("scan", "  ", "--out", "OUT"), "' ' does not exist"),
    ("source_like_a_flag", ("scan", "--", "-rf", "--out"), "unexpected"),
    ("source_that_is_absent", ("scan", "DATA/absent", "--out", "OUT"), "does not exist"),
    ("source_with_a_zero_inside", ("scan", "DATA/\0", "--out", "OUT"), "expected"),
    ("source_of_escapes", ("scan", "\x1b[2J\x07", "--out", "OUT"), "does not exist"),
    ("source_longer_than_a_name", ("scan", "x" * 5000, "--out", "OUT"), "too long"),
    ("source_that_is_a_device", ("scan", "/dev/zero", "--out", "OUT"), "/dev/zero"),
    ("source_that_is_a_url", ("scan", "https://127.0.0.1/x", "--out", "OUT"), "does not exist"),
    ("source_that_is_half_a_letter", ("scan", "\udcff", "--out", "OUT"), "does not exist"),
    ("source_of_a_pattern_for_nothing", ("scan", "DATA/*.parquet", "--out", "OUT"), "*.parquet"),
    ("source_that_is_one_image", ("scan", "DATA/a/0.png", "--out", "OUT"), "is a file"),
    ("out_inside_the_source", ("scan", "DATA", "--out", "DATA/out"), "inside the source"),
    ("out_that_is_the_source", ("scan", "DATA", "--out", "DATA"), "inside the source"),
    ("out_that_is_a_device", ("scan", "DATA", "--out", "/dev/null"), "/dev/null"),
    ("out_with_a_zero_inside", ("scan", "DATA", "--out", "x\0y"), "--out"),
    ("out_longer_than_a_name", ("scan", "DATA", "--out", "OUT/" + "x" * 5000), "make the folder"),
    ("seed_below_zero", (*SCAN, "--seed", "-1"), "--seed"),
    ("seed_that_is_a_word", (*SCAN, "--seed", "nan"), "--seed"),
    ("seed_of_5000_digits", (*SCAN, "--seed", "9" * 5000), "--seed"),
    ("share_that_is_nan", (*SCAN, "--max-drop", "nan"), "--max-drop"),
    ("share_that_is_infinite", (*SCAN, "--max-drop", "1e999"), "--max-drop"),
    ("share_of_nothing", (*SCAN, "--max-drop", ""), "--max-drop"),
    ("level_without_trusted", (*SCAN, "--fdr", "0.1"), "--trusted"),
    ("level_that_is_nan", (*SCAN, "--trusted", "DATA", "--fdr", "nan"), "--fdr"),
    ("budget_that_is_a_program", (*SCAN, "--budget", "$(reboot)"), "--budget"),
    ("budget_of_escapes", (*SCAN, "--budget", "\x1b[2J\n"), "--budget"),
    ("detector_that_is_a_path", (*SCAN, "--detectors", "../../etc/passwd"), "sanitizer detectors"),
    ("detector_that_is_a_module", (*SCAN, "--detectors", "os:system"), "sanitizer detectors"),
    ("detectors_of_nothing", (*SCAN, "--detectors", ","), "--detectors"),
    ("plan_for_a_machine", (*SCAN, "--plan", "--json"), "--plan"),
    ("trusted_that_is_absent", (*SCAN, "--trusted", "/no/such"), "does not exist"),
    ("baseline_that_is_absent", (*SCAN, "--baseline", "/no/such"), "/no/such"),
    ("baseline_that_is_the_data", (*SCAN, "--baseline", "DATA"), "verdict folder"),
    ("store_inside_the_source", (*SCAN, "--store", "DATA/store"), "inside the source"),
    ("store_that_is_a_device", (*SCAN, "--store", "/dev/null"), "/dev/null"),
    ("columns_that_are_absent", (*SCAN, "--label-column", "nonesuch"), "expected"),
    ("gate_without_a_policy", ("gate", "DATA"), "--policy"),
    ("gate_by_a_policy_that_is_data", ("gate", "DATA", "--policy", "DATA/a/0.png"), "--policy"),
    ("gate_by_a_policy_that_is_a_folder", ("gate", "DATA", "--policy", "DATA"), "--policy"),
    ("verify_of_the_data_itself", ("verify", "DATA", "DATA"), "manifest"),
    ("report_of_the_data_itself", ("report", "DATA"), "verdict"),
    ("restore_of_the_data_itself", ("restore", "DATA"), "expected"),
    ("apply_of_nothing", ("apply", "OUT", "DATA", "--to", "OUT2"), "expected"),
    ("poison_by_a_path", ("poison", "DATA", "OUT", "--attack", "../x"), "sanitizer attacks"),
):  # fmt: skip
    ARGUMENTS.add(name, words, named)
