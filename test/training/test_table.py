"""training.csv: rows with other columns, runs that were killed, the change that fine-tuning made."""

from depth_ros.training.table import TABLE, add_row, change_lines, read_table


def test_a_row_may_have_columns_that_earlier_ones_lack(tmp_path):
    file = tmp_path / TABLE
    add_row(file, {"step": 0, "hall abs_rel": 0.25})
    add_row(file, {"step": 100, "loss": 1.23456789, "hall abs_rel": 0.125})
    assert file.read_text().split() == ["step,hall", "abs_rel,loss", "0,0.25,", "100,0.125,1.2346"]
    assert read_table(file)[0] == {"step": "0", "hall abs_rel": "0.25", "loss": ""}


def test_rows_of_a_killed_run_are_replaced_by_those_of_the_resumed_one(tmp_path):
    file = tmp_path / TABLE
    for step, loss in ((100, 3), (200, 2), (100, 5)):
        add_row(file, {"step": step, "loss": loss})
    assert [(row["step"], row["loss"]) for row in read_table(file)] == [("100", "5")]


def test_the_change_is_that_of_the_metrics_from_the_first_step_to_the_last(tmp_path):
    assert change_lines(tmp_path) == []
    add_row(tmp_path / TABLE, {"step": 0, "hall abs_rel": 0.25})
    add_row(tmp_path / TABLE, {"step": 100, "loss": 1, "hall abs_rel": 0.1})
    add_row(tmp_path / TABLE, {"step": 150, "loss": 1, "hall abs_rel": 0.125})
    assert change_lines(tmp_path) == ["hall abs_rel: 0.25 before, 0.125 after 150 steps"]


def test_a_model_that_was_trained_from_scratch_has_no_metrics_before(tmp_path):
    add_row(tmp_path / TABLE, {"step": 100, "loss": 1, "hall abs_rel": 0.1})
    assert change_lines(tmp_path) == []
