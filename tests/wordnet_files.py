"""A WordNet of three synsets in its own files."""


def wordnet_folder(folder):
    """WordNet's files with three synsets, in its own format."""
    licence = "  1 This software and database is being provided to you\n"
    lines = {
        "noun": ["{:08d} 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 00000001 n 0000 | a friend\n",
                 "{:08d} 06 n 02 mouse 0 computer_mouse 0 000 | a device\n"],
        "adj": ["{:08d} 00 s 02 big(a) 0 large 0 000 | of size\n"], "verb": [], "adv": [],
    }  # fmt: skip
    for part, rows in lines.items():
        data, index = licence, licence
        for row in rows:
            offset = len(data)
            data += row.format(offset)
            for word in (one.partition("(")[0].lower() for one in row.split()[4:10:2] if one[0].isalpha()):
                if "_" not in word and word != "canis":
                    index += f"{word} {part[0]} 1 0 1 0 {offset:08d}  \n"
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index)
    (folder / "noun.exc").write_text("mice mouse\n")
    return folder
