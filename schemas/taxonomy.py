from schemas.table import Column, Table, required

TAXONOMY = Table(
    name="taxonomy",
    meaning="Surface forms and what each names: titles to occupations, spellings to skills.",
    grain="version",
    key=("taxonomy_version", "field", "surface", "entity"),
    partition=("taxonomy_version",),
    columns=(
        required("taxonomy_version", "string", "Hash of the taxonomy's content."),
        required("field", "string", "The term field that the entity belongs to: occupation, skill, …"),
        required("surface", "string", "A way to write it, as written."),
        required("entity", "string", "What it names: a code of the taxonomy."),
        Column("label", "string", "How to show the entity to people."),
    ),
)
