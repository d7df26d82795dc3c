"""The words of columns' names that hint at a person, by language: a table, to be read and added to.

Words are written in lower case and without accents, `ß` as `ss`; German's `ä` is looked for as `a` and as `ae`. `_` may
be any sign, or none: `tax_id` is also `TaxId`, `tax-id` and `taxid`. `x*` is a word that begins so, `*x` one that ends
so, `*x*` one that has it anywhere: for languages that write words in one. `=x` must be the whole name, for words that
mean something else in another language.
"""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, str]
"""By language (ISO 639-1), words with a blank between them."""

SECRET: Words = {
    "en": "password passwd pwd secret token api_key pin cvv cvc",
    "de": "*passwort* kennwort* geheimzahl",
    "fr": "mot_de_passe mot_passe =mdp",
    "es": "contrasena =clave",
    "it": "parola_chiave",
    "pt": "senha palavra_passe",
    "nl": "wachtwoord*",
}
MAIL: Words = {
    "en": "mail mails e_mail e_mails mail_address e_mail_address",
    "de": "*mailadresse*",
    "fr": "courriel",
    "es": "correo",
    "it": "posta_elettronica =pec",
    "pt": "correio_eletronico correio_electronico",
    "nl": "*mailadres",
}
PHONE: Words = {
    "en": "phone mobile cell tel telephone fax msisdn phone_number mobile_phone mobile_number cell_phone",
    "de": "*telefon* telefax* handy handynummer handynr mobil mobilnummer mobilnr *rufnummer *rufnr faxnummer faxnr "
    "telnr durchwahl",
    "fr": "=portable tel_portable numero_portable",
    "es": "telefono telefonos movil celular",
    "it": "telefono telefoni cellulare",
    "pt": "telefone telefones telemovel celular",
    "nl": "telefoon* mobiel* gsm =gsm_nummer",
}
IP: Words = {"en": "ip ips ip_addr ip_address ipv4 ipv6 remote_addr"}
BIRTH: Words = {
    "en": "birth born dob birthday birthdate date_of_birth",
    "de": "geburtsdat* geburtstag* geburtsjahr* geboren* gebdat* geb_dat geb_datum geb_am geburt =geb",
    "fr": "naissance date_naiss ne_le nee_le",
    "es": "nacimiento fecha_nac fec_nac",
    "it": "nascita data_nasc",
    "pt": "nascimento data_nasc dt_nasc",
    "nl": "geboorte* geb_datum",
}
SPECIAL: Words = {
    "en": "gender sex religion ethnic ethnicity race health diagnosis disability orientation politics political union "
    "nationality citizenship marital_status",
    "de": "geschlecht* konfession* gesundheit* krankheit* diagnose* krankenkass* krankenversich* behinder* "
    "schwerbehinder* ethnie gewerkschaft* blutgruppe familienstand kirchensteuer* staatsangehörig* nationalität "
    "parteizugehörig*",
    "fr": "sexe sante maladie maladies handicap nationalite ethnie situation_familiale situation_de_famille syndicat "
    "groupe_sanguin mutuelle",
    "es": "sexo genero salud enfermedad discapacidad nacionalidad etnia raza estado_civil sindicato diagnostico "
    "grupo_sanguineo",
    "it": "sesso religione salute malattia disabilita nazionalita etnia stato_civile sindacato diagnosi "
    "gruppo_sanguigno",
    "pt": "sexo genero religiao saude doenca deficiencia nacionalidade etnia raca estado_civil sindicato diagnostico",
    "nl": "geslacht religie godsdienst gezondheid ziekte handicap nationaliteit burgerlijke_staat vakbond diagnose "
    "zorgverzekeraar ziektekosten*",
}
PAY: Words = {
    "en": "salary salaries wage wages payroll annual_salary hourly_wage",
    "de": "gehalt gehälter gehalts* bruttogehalt nettogehalt grundgehalt jahresgehalt monatsgehalt lohn bruttolohn "
    "nettolohn stundenlohn lohngruppe lohnsteuer* vergütung einkommen",
    "fr": "salaire salaires remuneration",
    "es": "salario salarios sueldo nomina",
    "it": "stipendio stipendi retribuzione reddito",
    "pt": "salario salarios remuneracao",
    "nl": "salaris salarissen brutoloon nettoloon uurloon inkomen",
}
OFFICIAL: Words = {
    "en": "ssn social_security passport tax_id national_id iban bic card card_number pan licence_number "
    "license_number nhs =nino credit_card credit_card_number passport_number social_security_number "
    "national_insurance_number drivers_license driver_license drivers_licence driving_licence",
    "de": "steuer_id steuer_nr steuernummer steueridentifik* steuer_ident* idnr sozialvers* sv_nr sv_nummer "
    "rentenversicher* personalausweis* ausweisnummer ausweis_nr reisepass* passnummer pass_nr führerschein* konto_nr "
    "kontonummer bankverbindung kreditkarte* kartennummer karten_nr kfz_kennzeichen versicherungsnummer "
    "versicherungsnr",
    "fr": "securite_sociale num_secu numero_secu =nir =nss numero_fiscal passeport permis_conduire permis_de_conduire "
    "carte_identite carte_d_identite =cni =rib compte_bancaire carte_bancaire numero_carte numero_de_carte",
    "es": "dni =nie nif curp cedula pasaporte seguridad_social numero_identificacion tarjeta tarjeta_credito "
    "cuenta_bancaria numero_cuenta numero_de_cuenta carnet_conducir carnet_de_conducir",
    "it": "codice_fiscale cod_fiscale cod_fisc passaporte passaporto carta_identita carta_d_identita patente_guida "
    "carta_credito carta_di_credito conto_corrente tessera_sanitaria",
    "pt": "cpf =rg nif niss passaporte cartao cartao_cidadao cartao_de_cidadao cnh conta_bancaria numero_conta",
    "nl": "bsn burgerservicenummer sofinummer paspoort* rijbewijs* rekeningnummer bankrekening* identiteits*",
}
NAME: Words = {
    "en": "first_name last_name full_name middle_name maiden_name given_name family_name user_name display_name "
    "customer_name contact_name person_name screen_name nick_name surname forename initials "
    "name_first name_last",
    "de": "*vorname* *nachname familienname* zuname rufname geburtsname mädchenname benutzername nutzername "
    "kundenname mitarbeitername spitzname anrede ansprechpartner* ansprechperson* kontaktperson* kontoinhaber* "
    "sachbearbeiter*",
    "fr": "prenom prenoms nom_famille nom_de_famille nom_complet nom_usage nom_d_usage nom_naissance nom_utilisateur "
    "nom_prenom civilite pseudo interlocuteur",
    "es": "apellido apellidos nombres primer_nombre segundo_nombre nombre_completo nombre_usuario nombre_de_usuario "
    "apodo contacto persona_contacto",
    "it": "cognome nominativo nome_completo nome_cognome nome_utente referente soprannome contatto",
    "pt": "sobrenome apelido nome_completo nome_proprio nome_usuario primeiro_nome ultimo_nome nome_mae nome_da_mae "
    "alcunha contato contacto",
    "nl": "voornaam voornamen achternaam tussenvoegsel* roepnaam voorletters meisjesnaam gebruikersnaam "
    "volledige_naam contactpersoon* aanhef",
}
MAYBE_NAME: Words = {
    "en": "name names alias handle nick",
    "fr": "nom noms",
    "es": "nombre",
    "it": "nome nomi",
    "pt": "nome nomes",
    "nl": "naam namen",
}
"""Last words of a name, of a person if something else in the table is of one."""
DEVICE: Words = {
    "en": "device device_id session session_id cookie browser advertising advertiser advert install installation "
    "fingerprint visitor push "
    "idfa gaid imei imsi mac mac_address user_agent ua referer referrer",
    "de": "gerät geräte_id gerätekennung gerätenummer sitzung sitzungs_id",
    "fr": "id_appareil appareil_id",
    "es": "dispositivo",
    "it": "dispositivo",
    "pt": "dispositivo",
    "nl": "apparaat_id",
}
PLACE: Words = {
    "en": "lat latitude lon lng long longitude geo geohash gps coordinate coordinates",
    "de": "breitengrad* längengrad* koordinaten standort*",
    "fr": "coordonnees localisation",
    "es": "latitud longitud coordenadas ubicacion",
    "it": "latitudine longitudine coordinate",
    "pt": "coordenadas localizacao",
    "nl": "breedtegraad lengtegraad coordinaten",
}
ADDRESS: Words = {
    "en": "street address addr zip zip_code post_code postal_code city town house_number location",
    "de": "*strasse *strassen =str str_nr str_u_nr str_und_nr hausnummer* haus_nr *anschrift* *adresse* plz "
    "postleitzahl* =ort plz_ort wohnort* wohnsitz* geburtsort* geburtsland stadt postfach",
    "fr": "adresse rue ville code_postal =cp commune domicile lieu_naissance",
    "es": "direccion calle ciudad codigo_postal cod_postal localidad domicilio",
    "it": "indirizzo =via citta comune =cap residenza domicilio localita",
    "pt": "endereco morada rua cidade codigo_postal cep bairro localidade",
    "nl": "adres *straat straatnaam huisnummer huis_nr woonplaats* =plaats gemeente",
}
FREE_TEXT: Words = {
    "en": "comment comments note notes message body description bio about review feedback remark remarks free_text "
    "transcript",
    "de": "bemerkung* kommentar* notiz* anmerkung* beschreibung nachricht* freitext* mitteilung* begründung "
    "verwendungszweck",
    "fr": "commentaire commentaires remarque remarques avis",
    "es": "comentario comentarios observaciones notas mensaje descripcion resena",
    "it": "commento commenti nota osservazioni messaggio descrizione annotazioni",
    "pt": "comentario comentarios observacao observacoes notas mensagem descricao",
    "nl": "opmerking* notitie* commentaar bericht omschrijving toelichting",
}
AGE: Words = {
    "en": "age",
    "de": "alter lebensalter altersgruppe",
    "es": "edad",
    "pt": "idade",
    "nl": "leeftijd*",
}

PERSONS: Mapping[str, Words] = {
    "user": {
        "en": "user",
        "de": "benutzer nutzer anwender",
        "fr": "utilisateur usager",
        "es": "usuario",
        "it": "utente",
        "pt": "utilizador usuario",
        "nl": "gebruiker",
    },
    "account": {"en": "account"},
    "customer": {
        "en": "customer",
        "de": "kunde kunden kd_nr kd_nummer",
        "fr": "=clients",
        "es": "cliente clientes",
        "it": "cliente clienti",
        "pt": "cliente clientes",
        "nl": "klant klanten",
    },
    "client": {"en": "client", "de": "mandant mandanten"},
    "member": {
        "en": "member",
        "de": "mitglied mitglieder mitglieds",
        "fr": "membre adherent",
        "es": "miembro =socio num_socio",
        "it": "membro iscritto",
        "pt": "membro",
        "nl": "lidnummer lid_nr leden",
    },
    "person": {"en": "person", "fr": "personne", "es": "persona", "it": "persona", "pt": "pessoa", "nl": "persoon"},
    "listener": {"en": "listener", "de": "hörer"},
    "subscriber": {
        "en": "subscriber",
        "de": "abonnent abonnenten",
        "fr": "abonne",
        "es": "suscriptor abonado",
        "it": "abbonato",
        "pt": "assinante",
        "nl": "abonnee",
    },
    "employee": {
        "en": "employee",
        "de": "mitarbeiter angestellter arbeitnehmer personal_nr personalnummer pers_nr",
        "fr": "salarie employe",
        "es": "empleado trabajador",
        "it": "dipendente impiegato",
        "pt": "funcionario empregado colaborador",
        "nl": "medewerker werknemer personeelsnummer",
    },
    "patient": {
        "en": "patient",
        "de": "patienten versicherten versicherter",
        "es": "paciente",
        "it": "paziente",
        "pt": "paciente",
    },
    "student": {
        "de": "schüler student studenten matrikel_nr matrikelnummer",
        "fr": "eleve etudiant",
        "es": "alumno estudiante",
        "it": "studente",
        "pt": "aluno",
        "nl": "leerling",
    },
    "player": {
        "en": "player",
        "de": "spieler",
        "fr": "joueur",
        "es": "jugador",
        "it": "giocatore",
        "pt": "jogador",
        "nl": "speler",
    },
}
"""Whose identifier a word names, by the domain that is suggested: the same in every language."""
OTHER_PERSONS: Words = {
    "en": "contact owner profile author follower fan buyer visitor subject",
    "de": "besteller käufer bewohner mieter debitor teilnehmer",
    "fr": "acheteur beneficiaire titulaire assure locataire destinataire",
    "es": "comprador titular beneficiario inquilino asegurado",
    "it": "acquirente intestatario beneficiario assicurato",
    "pt": "comprador titular beneficiario inquilino segurado",
    "nl": "koper huurder verzekerde bezoeker deelnemer",
}
"""Persons whom a row is about less often: a subject isn't suggested by them."""
IDENTIFIERS: Words = {
    "en": "id ids uuid guid key no number ref code",
    "de": "nr nummer kennung schlüssel",
    "fr": "numero num cle",
    "es": "numero num codigo cod",
    "it": "numero num codice cod",
    "pt": "numero num codigo cod",
    "nl": "nummer nr",
}
"""What stands before or behind a person in one word: `kundennummer`, `idcliente`."""
NUMBERED: Words = {
    "en": "no num number name",
    "de": "nr nummer",
    "fr": "num numero",
    "es": "num numero",
    "it": "num numero",
    "pt": "num numero",
    "nl": "nr nummer naam",
}
"""What stands behind a telephone or an address in one word: `phoneno`, `streetname`."""
MEASURES: Words = {
    "en": "count counts cnt size sizes time times speed duration length ms sec secs seconds minutes hours days bytes",
    "de": "anzahl dauer zeit",
    "fr": "duree longueur",
    "es": "cantidad duracion",
    "it": "conteggio durata lunghezza",
    "pt": "quantidade duracao comprimento",
    "nl": "aantal duur",
}
"""Last words of a name that is about a number or a moment: `email_count`, `session_time`. No word for a size that is
also a person's height, nor for a length that is also a longitude."""
COUNTED: Words = {
    "en": "number_of count_of no_of",
    "de": "anzahl",
    "es": "cantidad",
    "it": "conteggio",
    "pt": "quantidade",
    "nl": "aantal",
}
"""First words of such a name; English's with a plural behind them."""
THINGS: Words = {"en": "mac_os race_time race_times"}
"""Names, or the words that one begins with, in which a word means something else."""
