"""Words that mean about the same among tools: what people call things, and what servers call them.

Law: general words of the domain only, never made for one query or one server. A word may stand in
several groups; a phrase counts where its words stand side by side.
"""

from collections.abc import Mapping
from typing import Final

from mcpproxy.gateway.search.words import stem

_GROUPS: Final = """
    # --- what is done
    create, add, new, make, insert, generate, build, produce, set up
    open, start, begin, launch, initiate
    create, open, raise, submit, report
    delete, remove, erase, drop, discard, destroy, clear, purge, trash, forget, wipe, unlink
    uninstall, remove, delete
    list, show, display, enumerate, view, see, browse
    get, retrieve, fetch, obtain, read, load, receive, pull, grab
    get, show, view, see, look, check
    dump, export, all, entire, whole, everything, complete
    download, fetch, save
    search, find, query, lookup, locate, discover, seek, look up, look for
    list, search, find, filter
    update, edit, modify, change, alter, patch, set, revise, amend, adjust
    replace, substitute, overwrite, swap
    write, save, store, put, persist, record
    append, add, attach, insert
    send, post, publish, deliver, notify, tell, announce, share, broadcast
    say, speak, tell, talk, repeat, echo
    reply, answer, respond, response
    close, resolve, finish, complete, done, end
    run, execute, exec, invoke, perform, launch, evaluate, eval
    stop, cancel, abort, kill, terminate, halt, quit, end
    move, rename, relocate, transfer
    copy, duplicate, clone, fork, replicate
    merge, combine, join, integrate
    compare, diff, difference, change, contrast
    approve, accept, confirm, allow, permit, grant, authorize
    reject, deny, decline, dismiss, refuse
    upload, push, attach, import
    sync, update, refresh
    install, set up, deploy, apply
    deploy, apply, release, rollout
    upgrade, update, bump
    undo, revert, rollback, restore, reset, roll back, rollout
    convert, transform, translate, turn into
    compress, zip, gzip, archive, pack
    extract, unzip, decompress, unpack
    count, sum, total, number
    sum, add, plus, arithmetic
    calculate, compute, math
    subscribe, watch, follow, monitor, observe
    schedule, plan, book, arrange
    remind, reminder, alarm
    login, sign in, log in, authenticate, auth
    logout, sign out, log out
    enable, activate, turn on, toggle
    disable, deactivate, turn off, toggle
    switch, checkout, change, select, go to
    wait, pause, sleep, delay
    click, press, tap, push, hit
    type, enter, input, fill, write
    fill, complete, fill in, fill out
    select, choose, pick
    navigate, go, go to, visit, open, browse
    back, return, previous
    think, reason, thought, ponder, reflect, plan, solve
    remember, memorize, memorise, memory, recall, know, knowledge, learn
    summarize, summarise, summary, digest, overview
    explain, describe, detail, information, info, documentation, docs, help
    describe, inspect, examine, diagnose, why
    test, try, verify, validate, check
    simulate, emulate, mock, fake, pretend
    subtract, minus
    connect, link, relate, associate, attach
    disconnect, detach, unlink
    assign, delegate, allocate
    invite, add member
    resize, bigger, smaller, larger, size
    scroll, swipe
    drag, move, drop
    cordon, drain, evict
    scale, replica, copies, instance
    # --- what it is done to
    issue, ticket, bug, defect, task
    issue, problem, error, failure, trouble, crash, exception
    pull request, merge request, PR, MR
    review, approve, feedback, reviewer
    repository, repo, project
    code, source, source code, program, function, snippet
    commit, revision, change, version control
    staged, staging, index
    log, history, recent, past
    log, output, trace, console
    branch, head
    main, master, trunk, base
    check, CI, build, pipeline, workflow, job
    file, document, doc, attachment
    folder, directory, dir
    tree, hierarchy, recursive, nested, structure
    file, disk, filesystem, computer, local, path, drive
    metadata, info, information, attribute, property
    modified, changed, last modified, updated
    image, picture, photo, media, png, jpeg
    audio, sound, music, song, track
    video, clip, movie, film
    screenshot, capture, snapshot, picture
    website, site, webpage, web page, page, url
    url, link, address, hyperlink, uri
    web, internet, online
    news, article, headline
    content, text, body, markdown
    text, string, words
    message, chat, dm, conversation, post
    channel, room, group
    thread, conversation, discussion
    comment, note, remark, discussion, annotation
    email, mail, inbox
    user, person, people, member, account, colleague, employee, teammate, developer
    profile, account, phone, contact
    entity, node, object, person
    observation, fact
    relation, relationship, link, connection, edge
    graph, knowledge base, knowledge graph
    database, db, sql, sqlite, postgres
    sql, select, statement, query
    row, record, entry, item
    insert, row, record
    column, field, attribute, schema
    table, spreadsheet, sheet, data source
    time, clock, hour, date, now, current, today
    timezone, time zone, tz
    location, place, address, position, where
    coordinate, latitude, longitude, gps, geocode, lat
    elevation, altitude, height, high
    direction, route, way, drive, walk, navigate
    distance, far, travel, how long, duration
    restaurant, business, shop, store, cafe, hotel, place
    nearby, near, local, around
    review, rating
    cluster, kubernetes, k8s, kubectl
    pod, container, workload
    deployment, service, application, app
    node, machine, host, server
    chart, helm, release
    yaml, manifest
    shell, terminal, command, bash, cmd, exec
    context, cluster
    port, tunnel, forward
    environment, env, variable, setting, configuration, config
    button, element, link
    browser, page, tab, web
    dropdown, drop down, combo box, option, select
    dialog, popup, pop up, alert, modal, prompt
    mouse, hover, pointer, cursor
    key, keyboard, shortcut, hotkey
    form, field, input box, text box
    window, viewport, screen
    theme, dark, light, color scheme
    javascript, js, script
    network, http, request, traffic
    request, call
    appear, disappear, gone, visible
    page, note, wiki, document, article
    block, paragraph, section
    title, name, heading, headline, subject
    parent, location, under
    team, organization, organisation, org, company, workspace, namespace
    calendar, event, meeting, appointment
    todo, task, to do
    invoice, bill, payment, charge
    customer, client, buyer
    order, purchase
    price, cost, fee
    product, item, article
    weather, forecast, temperature
    label, tag, category
    permission, access, role, right, allowed
    password, secret, credential, token
    reaction, emoji
    status, state, health, condition, progress
    progress, long running
    size, large, big, space, usage
    contact, address book
    metric, stat, statistic, analytics, usage
    dashboard, report, chart
    alert, incident, alarm
    bucket, storage, s3
    queue, topic, subscription
    backup, snapshot, dump
    language, locale
    multiple, several, many, batch, bulk, simultaneously
    server, service, backend
    resource, asset
"""


def _pairs() -> tuple[Mapping[str, tuple[str, ...]], Mapping[tuple[str, str], tuple[str, ...]]]:
    singles: dict[str, list[str]] = {}
    phrases: dict[tuple[str, str], list[str]] = {}
    lines = [line.strip() for line in _GROUPS.splitlines()]
    for number, line in enumerate(line for line in lines if line and not line.startswith("#")):
        for phrase in line.split(","):
            stems = [stem(word) for word in phrase.lower().split()]
            if len(stems) == 1:
                singles.setdefault(stems[0], []).append(f"={number}")
            else:
                first, second = stems
                phrases.setdefault((first, second), []).append(f"={number}")
    return (
        {word: tuple(dict.fromkeys(groups)) for word, groups in singles.items()},
        {pair: tuple(dict.fromkeys(groups)) for pair, groups in phrases.items()},
    )


GROUPS_OF, GROUPS_OF_PAIR = _pairs()
"""The groups of a stem, and of two stems that stand side by side. A group is a term like any
other, and no word can be one: it begins with `=`.
"""
