from deeplab.utils.paths import short_path


def test_paths_below_the_current_folder_are_relative(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert str(short_path(tmp_path / "here" / "runs" / "a")) == "runs/a"
    assert short_path(tmp_path / "hereafter") == tmp_path / "hereafter"
