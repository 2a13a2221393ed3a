// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

// Asks a UFDS as Triton's own services do, with their client from npm, and
// prints what it makes of the answers, one JSON value a line. It lies in the
// folder given first; setup.sh brings it.
//
//   ufds-client.cjs FOLDER URL PASSWORD LOGIN RIGHT

'use strict';

const path = require('path');
const [folder, url, bindPassword, login, right] = process.argv.slice(2);
const modules = path.join(folder, 'node_modules');
const UFDS = require(path.join(modules, 'ufds'));
const bunyan = require(path.join(modules, 'bunyan'));

const log = bunyan.createLogger({name: 'oracle', level: 'fatal'});
const client = new UFDS({
    url, bindDN: 'cn=root', bindPassword, log, cache: false,
    clientTimeout: 20000, connectTimeout: 10000,
    tlsOptions: {rejectUnauthorized: false}
});

function say(what, value) {
    console.log(JSON.stringify([what, value]));
}

const authenticate = (password) => new Promise((done) => {
    client.authenticate(login, password, (err, user) => {
        done(err ? err.name : user.login);
    });
});

const user = (name) => new Promise((done) => {
    const opts = {searchType: 'login', value: name, noCache: true};
    client.getUserEx(opts, (err, found) => done(err ? err.name : found));
});

async function ask() {
    const found = await user(login);
    say('dn', String(found.dn));
    say('login', found.login);
    say('email', found.email);
    say('admin', found.isAdmin());
    say('password shown', found.userpassword !== undefined);
    say('other case', await user(login.toUpperCase()));
    say('right', await authenticate(right));
    for (let at = 0; at < 6; at++) {
        say('wrong', await authenticate('wrong' + at));
    }
    say('locked', await authenticate(right));
    const locked = await user(login);
    say('failures', locked.pwdfailuretime.length);
    say('locked until', Number(locked.pwdaccountlockedtime) > Date.now());
    await new Promise((done, failed) => {
        locked.unlock((err) => (err ? failed(err) : done()));
    });
    say('unlocked', await authenticate(right));
    client.close(() => process.exit(0));
}

client.once('error', (err) => { say('error', err.message); process.exit(1); });
client.once('connect', () => {
    ask().catch((err) => { say('error', err.message); process.exit(1); });
});
