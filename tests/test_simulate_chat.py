"""The simulated world of a chat community: what its docstring says of files, causes and truth holds."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from toolkit.errors import DataError
from toolkit.registry import worlds
from toolkit.simulate import chat_story
from toolkit.simulate.chat import ChatWorld, answers, silence, simulate, tone

FILES = {
    "users": ["user_id", "joined_at", "region"],
    "messages": ["message_id", "user_id", "sent_at", "channel", "reply_to", "reply_seconds", "text"],
    "contacts": ["contact_id", "user_id", "planned_at", "send_at", "topic"],
    "answers": ["contact_id", "user_id", "answered_at"],
}
SUNDAY = date(2023, 8, 6)
WORLD = ChatWorld(size=1_500, weeks=40)
LAST = pd.Timestamp("2023-01-02") + pd.Timedelta(7 * WORLD.weeks, "D") + pd.Timedelta(9, "h")  # the export


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("chat")
    simulate(WORLD, found)
    return found


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / f"{name}.csv", dtype={"text": str}) for name in FILES}


@pytest.fixture(scope="module")
def messages(files: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return files["messages"].assign(at=pd.to_datetime(files["messages"]["sent_at"]))


def test_it_is_registered() -> None:
    assert worlds.get("chat").config is ChatWorld


def test_the_files_have_their_columns_and_keys_stand_once(files: dict[str, pd.DataFrame]) -> None:
    assert {name: frame.columns.to_list() for name, frame in files.items()} == FILES
    for name, key in (("users", "user_id"), ("messages", "message_id"), ("contacts", "contact_id")):
        assert files[name][key].is_unique
    assert files["answers"]["contact_id"].is_unique
    assert set(files["messages"]["user_id"]) <= set(files["users"]["user_id"])


def test_a_reply_says_how_long_it_took_since_the_message_that_it_names(messages: pd.DataFrame) -> None:
    replies = messages[messages["reply_to"].notna()]
    named = messages.set_index("message_id")["at"].loc[replies["reply_to"]]
    gap = (replies["at"].to_numpy() - named.to_numpy()) / np.timedelta64(1, "s")
    assert (gap == replies["reply_seconds"]).all()
    assert gap.min() >= 5
    assert 0.35 < len(replies) / len(messages) < 0.5
    assert (messages["reply_seconds"].notna() == messages["reply_to"].notna()).all()


def test_nobody_writes_before_joining_nor_after_the_export(
    files: dict[str, pd.DataFrame], messages: pd.DataFrame
) -> None:
    joined = pd.to_datetime(files["users"].set_index("user_id")["joined_at"])
    week = pd.to_datetime(messages["user_id"].map(joined)).dt.to_period("W").dt.start_time
    assert (messages["at"] >= week).all()
    assert messages["at"].max() < LAST
    assert pd.to_datetime(files["answers"]["answered_at"]).max() < LAST


def test_contacts_are_planned_on_the_sunday_before_and_answered_within_a_day(
    files: dict[str, pd.DataFrame],
) -> None:
    contacts = files["contacts"].assign(
        planned=pd.to_datetime(files["contacts"]["planned_at"]), send=pd.to_datetime(files["contacts"]["send_at"])
    )  # fmt: skip
    assert set(contacts["planned"].dt.dayofweek) == {6}
    ahead = contacts["send"] - contacts["planned"]
    assert ahead.between(pd.Timedelta(6, "h"), pd.Timedelta(7 * 24 + 6, "h")).all()
    assert contacts["send"].dt.hour.between(6, 22).all()
    assert contacts["planned"].max() > LAST - pd.Timedelta(
        1, "D"
    )  # next week's are in the export, not yet sent
    assert not contacts.duplicated(["user_id", "planned_at"]).any()
    send = contacts.set_index("contact_id")["send"].loc[files["answers"]["contact_id"]]
    took = pd.to_datetime(files["answers"]["answered_at"]).to_numpy() - send.to_numpy()
    assert (took > np.timedelta64(0, "s")).all()
    assert (took < np.timedelta64(24, "h")).all()


def test_words_say_the_mood(folder: Path, messages: pd.DataFrame) -> None:
    """Users whose usual mood is good write more good words; the mood itself stands in no file."""
    mood = pd.read_parquet(folder / "truth" / "users.parquet").set_index("user_id")["mood"]
    text = messages["text"].fillna("")
    good = text.str.contains(r"\b(?:great|awesome|good|love)\b") & ~text.str.contains(
        r"\b(?:not|never|hardly)\b"
    )
    assert np.corrcoef(messages["user_id"].map(mood), good)[0, 1] > 0.03  # ten times its standard error
    assert 0.02 < messages["text"].isna().mean() < 0.04
    assert text.str.contains("🎉").any()


def test_silence_is_calibrated_and_beats_recency(folder: Path, messages: pd.DataFrame) -> None:
    parts = []
    for sunday in (date(2023, 5, 7), date(2023, 6, 25), SUNDAY):
        found = silence(folder, sunday, draws=10)
        before = messages[messages["at"] < pd.Timestamp(sunday) + pd.Timedelta(1, "D")]
        found["recency"] = found["user_id"].map(before.groupby("user_id")["at"].max())
        parts.append(found.assign(recency=(pd.Timestamp(sunday) - found["recency"]).dt.total_seconds()))
    rows = pd.concat(parts)
    expected, spread = rows["chance"].sum(), np.sqrt((rows["chance"] * (1 - rows["chance"])).sum())
    assert abs(rows["silent"].sum() - expected) < 4 * spread
    best, rule = (roc_auc_score(rows["silent"], rows[by]) for by in ("chance", "recency"))
    assert 0.6 < rule < best < 0.97


def test_silence_speaks_of_active_users_and_agrees_with_the_file(
    folder: Path, messages: pd.DataFrame
) -> None:
    found = silence(folder, SUNDAY, draws=1)
    end = pd.Timestamp(SUNDAY) + pd.Timedelta(1, "D")
    month = pd.Timedelta(30, "D")
    active = set(messages[(messages["at"] >= end - month) & (messages["at"] < end)]["user_id"])
    later = set(messages[(messages["at"] >= end) & (messages["at"] < end + month)]["user_id"])
    assert set(found["user_id"]) == active
    assert set(found.loc[found["silent"] == 0, "user_id"]) == active & later


def test_the_expected_tone_goes_with_what_is_then_written(folder: Path, messages: pd.DataFrame) -> None:
    expected = tone(folder, SUNDAY).set_index("user_id")["tone"]
    week = messages[(messages["at"] >= "2023-08-07") & (messages["at"] < "2023-08-14")]
    text = week["text"].fillna("")
    said = text.str.contains(r"great|awesome|love|nice").astype(int) - text.str.contains(
        r"hate|awful|broken|bad"
    ).astype(int)
    mean = said.groupby(week["user_id"]).mean()
    assert np.corrcoef(mean, expected.loc[mean.index])[0, 1] > 0.1
    assert expected.between(-0.55, 0.55).all()


def test_the_chance_of_an_answer_is_calibrated(folder: Path, files: dict[str, pd.DataFrame]) -> None:
    found = answers(folder)
    assert set(found["contact_id"]) == set(files["contacts"]["contact_id"])
    spread = np.sqrt((found["chance"] * (1 - found["chance"])).sum())
    assert abs(found["answered"].sum() - found["chance"].sum()) < 4 * spread
    assert 0.72 < roc_auc_score(found["answered"], found["chance"]) < 0.9
    sent = files["contacts"]["send_at"] < str(LAST - pd.Timedelta(1, "D"))
    known = found["contact_id"].isin(files["answers"]["contact_id"])
    assert (known == (found["answered"] == 1))[sent.to_numpy()].all()


def test_causes_work_as_the_docstring_says() -> None:
    rng = np.random.default_rng(0)
    users = chat_story.draw(2_000, 30, rng)
    state = chat_story.start(users, rng)
    here = users.arrival < 30
    calm = chat_story.hazard(state, users, 30)
    state.mood -= 1
    assert (chat_story.hazard(state, users, 30)[here] > 1.5 * calm[here]).all()
    assert (calm[~here] == 0).all()
    who = np.arange(2_000)
    zero = np.zeros(2_000)
    near = chat_story.answer(state, users, who, users.peak - 0.5, zero, zero)
    far = chat_story.answer(state, users, who, users.peak + 11.5, zero, zero)
    tired = chat_story.answer(state, users, who, users.peak - 0.5, zero, zero + 2)
    assert (near > far).all()
    assert (near > tired).all()
    assert np.allclose(chat_story.hours(users).sum(axis=1), 1)


def test_the_same_world_gives_the_same_bytes(tmp_path: Path) -> None:
    small = ChatWorld(size=150, weeks=12)
    for name, world in (("a", small), ("b", small), ("c", ChatWorld(size=150, weeks=12, seed=1))):
        simulate(world, tmp_path / name)
    for name in FILES:
        a, b, c = ((tmp_path / folder / f"{name}.csv").read_bytes() for folder in "abc")
        assert a == b != c


@pytest.mark.parametrize("day", [date(2023, 8, 7), date(2022, 12, 25), date(2023, 10, 1), date(2030, 1, 6)])
def test_no_truth_is_invented(folder: Path, day: date) -> None:
    with pytest.raises(DataError, match="there is no truth for"):
        silence(folder, day)


def test_a_folder_without_a_world(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole simulated world"):
        answers(tmp_path)


def test_what_a_world_cannot_be() -> None:
    for wrong in ({"size": 5}, {"weeks": 3}, {"users": 7}):
        with pytest.raises(ValidationError):
            ChatWorld.model_validate(wrong)
