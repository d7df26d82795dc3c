import json

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from importers.core.model import PersonalData as P
from importers.core.tenant import Privacy, Treat
from importers.privacy.detect import beside_each_other, suggest
from importers.privacy.hints import domain_by_name, words

S, N, F, D = pa.string(), pa.int64(), pa.float64(), pa.date32()


@pytest.mark.parametrize(
    ("path", "kind", "personal", "treatment"),
    [
        ("user_id", S, P.IDENTIFIER, "pseudonymise"),
        ("userId", N, P.IDENTIFIER, "pseudonymise"),
        ("user_id", F, P.IDENTIFIER, "drop"),
        ("payload.user.id", S, P.IDENTIFIER, "pseudonymise"),
        ("orders[].customer.id", S, P.IDENTIFIER, "pseudonymise"),
        ("email_address", S, P.CONTACT, "drop"),
        ("EMail", S, P.CONTACT, "drop"),
        ("birth_date", D, P.IDENTIFIER, "{mask: date, unit: year}"),
        ("birth_date", S, P.IDENTIFIER, "drop"),
        ("ip", S, P.ONLINE_ID, "{mask: ip_prefix}"),
        ("client_ip", S, P.ONLINE_ID, "{mask: ip_prefix}"),
        ("lat", F, P.LOCATION, "drop"),
        ("first_name", S, P.CONTACT, "drop"),
        ("lastName", S, P.CONTACT, "drop"),
        ("username", S, P.CONTACT, "drop"),
        ("phone_number", S, P.CONTACT, "drop"),
        ("comment", S, P.FREE_TEXT, "drop"),
        ("age", N, P.IDENTIFIER, "{mask: band, width: 10}"),
        ("device_id", S, P.ONLINE_ID, "pseudonymise"),
        ("deviceid", S, P.ONLINE_ID, "pseudonymise"),
        ("sessionid", S, P.ONLINE_ID, "pseudonymise"),
        ("emailaddress", S, P.CONTACT, "drop"),
        ("mobilephone", S, P.CONTACT, "drop"),
        ("dateofbirth", S, P.IDENTIFIER, "drop"),
        ("nationality", S, P.SPECIAL, "drop"),
        ("marital_status", S, P.SPECIAL, "drop"),
        ("creditcardnumber", S, P.IDENTIFIER, "drop"),
        ("religion", S, P.SPECIAL, "drop"),
        ("api_token", S, P.SPECIAL, "drop"),
        ("track_id", S, P.NONE, "drop"),
        ("played_at", S, P.NONE, "drop"),
        ("ship_date", D, P.NONE, "keep"),
        ("page", N, P.NONE, "keep"),
        ("plate", S, P.NONE, "drop"),
        ("description_length", N, P.NONE, "keep"),
        ("birth_time", N, P.IDENTIFIER, "drop"),
        ("has_email", pa.bool_(), P.NONE, "keep"),
    ],
)
def test_names(path: str, kind: pa.DataType, personal: P, treatment: str) -> None:
    got = suggest(path, kind)
    assert (got.personal, got.treatment) == (personal, treatment)


SPECIAL, CONTACT, PLACE, TEXT = P.SPECIAL, P.CONTACT, P.LOCATION, P.FREE_TEXT


@pytest.mark.parametrize(
    ("names", "personal"),
    [
        (
            "Kundennummer Kd-Nr. MitgliedsNr Personalnummer Geburtsdatum Steuer-ID Führerscheinnr FUEHRERSCHEIN",
            P.IDENTIFIER,
        ),
        ("Vorname Nachname Ansprechpartner Telefon Mobil Handynummer E-Mail-Adresse Rufnummer", CONTACT),
        ("Straße STRASSE Hauptstrasse PLZ Ort Anschrift Lieferadresse", PLACE),
        ("Gehalt Krankenkasse Geschlecht Staatsangehörigkeit Passwort", SPECIAL),
        ("Bemerkung Bemerkungen Kommentar Freitext", TEXT),
        ("numéro_client idClient date_de_naissance N°_sécurité_sociale", P.IDENTIFIER),
        ("prénom nom_de_famille téléphone courriel", CONTACT),
        ("adresse code_postal ville cp", PLACE),
        ("salaire nationalité mot_de_passe", SPECIAL),
        ("id_cliente codcliente fecha_de_nacimiento DNI", P.IDENTIFIER),
        ("apellidos teléfono correo_electrónico", CONTACT),
        ("dirección código_postal ciudad", PLACE),
        ("género sueldo contraseña", SPECIAL),
        ("codice_cliente data_di_nascita codiceFiscale", P.IDENTIFIER),
        ("cognome cellulare", CONTACT),
        ("indirizzo CAP città", PLACE),
        ("número_cliente data_nascimento CPF", P.IDENTIFIER),
        ("sobrenome telemóvel", CONTACT),
        ("endereço CEP", PLACE),
        ("klantnummer geboortedatum BSN", P.IDENTIFIER),
        ("achternaam telefoonnummer mailadres", CONTACT),
        ("woonplaats Dorpsstraat", PLACE),
        ("opmerkingen", TEXT),
        (
            "Artikelname Steuersatz Kundengruppe Lieferdatum Fettgehalt Menge sort import via_id market_cap not_a",
            P.NONE,
        ),
    ],
)
def test_names_in_other_languages(names: str, personal: P) -> None:
    assert {name: suggest(name, S, pa.array(["x"])).personal for name in names.split()} == dict.fromkeys(
        names.split(), personal
    )


@pytest.mark.parametrize(
    ("names", "personal"),
    [
        ("streetname StreetNumber street_no cityname Straatnaam Str. Str_u_Nr", PLACE),
        ("phoneno PhoneNum mobileno faxnumber telno", CONTACT),
        ("Geb._am Geburt geb. Sozialvers.-Nr.", P.IDENTIFIER),
        ("hourlywage health_count wage_hours sex_count", SPECIAL),
        ("number_of_passport count_of_card no_of_iban", P.IDENTIFIER),
        ("count_me_in.email size_email time_zone_email", CONTACT),
        (
            "email_count cell_count customer_count token_count avis_count sessionCount device.size fan_speed pan_size "
            "session_time race_time note_duration review_length location_sizes session_ms Anzahl_Kunden "
            "cantidad_clientes aantal_klanten number_of_users mac_os mac_os_version phonecase casino geburtig strong",
            P.NONE,
        ),
    ],
)
def test_a_number_of_things_or_a_moment_is_no_person_s(names: str, personal: P) -> None:
    found = {name: suggest(name, S, pa.array(["x"])).personal for name in names.split()}
    assert found == dict.fromkeys(names.split(), personal)


def test_a_subject_s_domain_is_the_same_in_each_language() -> None:
    names = (
        "customer_id",
        "Kundennummer",
        "idcliente",
        "klant",
        "numero_abonne",
        "Personal-Nr",
        "order_id",
        "client_id",
        "customer_count",
    )
    domains = ["customer"] * 4 + ["subscriber", "employee", None, "client", None]
    assert [domain_by_name(name) for name in names] == domains


@pytest.mark.parametrize(
    ("values", "personal", "what"),
    [
        (["ada@example.org", "bob@example.net", None], P.CONTACT, "e-mail"),
        (["203.0.113.9", "2001:db8::1"], P.ONLINE_ID, "IP"),
        (["+49 30 901820", "+44 20 7946 0018"], P.CONTACT, "telephone"),
        (["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32"], P.IDENTIFIER, "IBAN"),
        (["4111 1111 1111 1111", "5500000000000004"], P.IDENTIFIER, "cards"),
        (["536-90-4399"], P.IDENTIFIER, "official"),
        (["ada@example.org", "x", "y", "z"], P.CONTACT, "e-mail addresses are in some"),
        (["x", "call jörg@mail.example.org.", "y", None], P.CONTACT, "e-mail addresses are in some"),
        (["mailto:ada@example.museum?subject=x", "y"], P.CONTACT, "e-mail addresses are in some"),
        (["@ada", "1@2", "a @ b.com", "v1@v2.3", "me@"], P.NONE, "no person"),
        (["ssh root@db.internal uptime", "root@web-1.example.org", "x", "y", "z"], P.NONE, "no person"),
        (["at com.x.Foo@1f2e.bar(Foo.java:12)", "java.lang.Object@6d06d69c", "x"], P.NONE, "no person"),
        (["beetroot@db.example.org", "x", "y"], P.CONTACT, "e-mail addresses are in some"),
        (["ann.root@example.org", "x", "y"], P.CONTACT, "e-mail addresses are in some"),
        (["of me@1f2e.example.org (mine)", "x", "y"], P.CONTACT, "e-mail addresses are in some"),
        (["logo@2x.png", "git@github.com:org/repo.git", "https://medium.com/@name.x/post", "x"], P.NONE, "no person"),
        (["4930901820", "4420794600"], P.NONE, "no person"),
        (["19.99", "5.00"], P.NONE, "no person"),
        ([None], P.NONE, "no person"),
    ],
)
def test_values_tell_where_the_name_does_not(values: list[str | None], personal: P, what: str) -> None:
    got = suggest("field7", S, pa.array(values, S))
    assert got.personal is personal
    assert what in got.why
    assert not any(value and value in str(got) for value in values)


def test_a_name_beside_what_concerns_a_person_may_be_theirs() -> None:
    columns = {"email": S, "name": S, "track_name": S, "renamed": S, "name_count": N, "alias": N}
    sample = pa.array(["x"], S)
    alone = [(suggest(path, kind, sample), kind) for path, kind in columns.items()]
    assert [guess.treatment for guess, _ in alone] == ["drop", *["keep"] * 5]
    assert [guess.treatment for guess in beside_each_other(alone)] == ["drop"] * 3 + ["keep"] * 3
    assert beside_each_other(alone)[1].personal is P.CONTACT
    assert [guess.treatment for guess in beside_each_other(alone[1:])] == ["keep"] * 5


def test_words() -> None:
    assert words("payload.billingUser[].id") == "billing_user_id"
    assert words("HTTPReferer") == "http_referer"
    assert words("attrs{key}") == "attrs"


NASTY = [
    "plain",
    "items[].id",
    "attrs{key}",
    "a: b",
    "true",
    "Null",
    "#x",
    "é ü",
    'say "hi"',
    "*",
    "- a",
    "",
    "7",
    "a\nb",
    "{x}",
]


def test_json_is_suggested_for_dropping_as_keeping_it_needs_a_reason() -> None:
    assert suggest("payload", pa.json_()).treatment == "drop"
    assert suggest("email", pa.json_()).treatment == "drop"


def test_text_whose_values_nobody_looked_at_is_never_said_to_be_kept():
    assert suggest("Puhelin", S).treatment == "drop"
    assert suggest("Puhelin", S, pa.array(["blue", "red"])).treatment == "keep"
    assert suggest("total", pa.float64()).treatment == "keep"


def test_a_suggestion_can_be_pasted() -> None:
    lines = [str(suggest(path, S)) for path in [*NASTY, "email", "ip"]] + [str(suggest("dob", D))]
    read = YAML(typ="safe").load("\n".join(lines))
    assert list(read) == [*NASTY, "email", "ip", "dob"]
    spec = Privacy.model_validate({"columns": read, "reason": "a star is kept"})
    assert spec.columns["ip"].treat is Treat.MASK
    assert json.loads(json.dumps(read["dob"])) == {"mask": "date", "unit": "year"}
