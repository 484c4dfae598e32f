"""Synonyms from WordNet's files, ours and Debian's."""

import pytest

from vitrail.curation.wordnet import WordNet
from wordnet_files import wordnet_folder


def test_wordnets_files_are_read_and_base_forms_found(tmp_path):
    net = WordNet(wordnet_folder(tmp_path))
    assert net.synonyms("Dog") == ("Canis familiaris", "domestic dog")
    assert net.synonyms("dogs") == ("Canis familiaris", "dog", "domestic dog")
    assert net.synonyms("mice") == ("computer mouse", "mouse")
    assert net.synonyms("large") == ("big",) and net.synonyms("bigger") == ()
    assert net.synonyms("of") == ()
    (tmp_path / "data.noun").write_text("another release\n")
    with pytest.raises(ValueError, match="has no synset at byte"):
        net.synonyms("dog")


@pytest.mark.debian("wordnet-base")
def test_the_wordnet_of_debian():
    net = WordNet("/usr/share/wordnet")
    assert {"Canis familiaris", "domestic dog"} <= set(net.synonyms("dogs")) and "large" in net.synonyms(
        "big"
    )
