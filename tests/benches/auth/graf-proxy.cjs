// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

// A double of today's sign-in proxy: its steps, over the client of UFDS that it
// uses, with that client's caches and a bunyan line a request. Without restify
// around it, so that it is rather faster than the real one.
// Source: contract sheet on UFDS, 1.8.
//
//   graf-proxy.cjs FOLDER SOCKET URL PASSWORD

'use strict';

const http = require('http');
const path = require('path');
const [folder, socket, url, bindPassword] = process.argv.slice(2);
const modules = path.join(folder, 'node_modules');
const UFDS = require(path.join(modules, 'ufds'));
const bunyan = require(path.join(modules, 'bunyan'));

const log = bunyan.createLogger({name: 'graf-proxy', level: 'info'});
const client = new UFDS({
    url, bindDN: 'cn=root', bindPassword, clientTimeout: 240000,
    cache: {size: 5000, expiry: 60},
    log: bunyan.createLogger({name: 'ufds', level: 'fatal'}),
    tlsOptions: {rejectUnauthorized: false}
});

function answer(req, res, status, headers) {
    res.writeHead(status, headers);
    res.end();
    const {authorization, ...shown} = req.headers;
    log.info({audit: true, req: {method: req.method, url: req.url,
        headers: shown}, res: {statusCode: status}}, 'handled: %d', status);
}

const challenge = {'WWW-Authenticate': 'Basic realm="Joyent Grafana"'};

http.createServer((req, res) => {
    const [scheme, text] = (req.headers.authorization || '').split(' ');
    const pair = scheme === 'Basic' ?
        Buffer.from(text, 'base64').toString() : '';
    const at = pair.indexOf(':');
    const [login, password] = [pair.slice(0, at), pair.slice(at + 1)];
    if (at < 1 || !password) {
        answer(req, res, 401, challenge);
        return;
    }
    client.getUser(login, (err, user) => {
        if (err) {
            answer(req, res, err.statusCode === 404 ? 401 : 500, challenge);
            return;
        }
        const now = Date.now();
        if (user.pwdaccountlockedtime > now || user.pwdendtime <= now) {
            answer(req, res, 403, {});
            return;
        }
        client.authenticate(login, password, (err2) => {
            if (err2) {
                answer(req, res, 401, challenge);
            } else if (!user.isAdmin()) {
                answer(req, res, 403, {});
            } else {
                answer(req, res, 200, {
                    'X-Grafana-Username': user.login,
                    'X-Grafana-Email': user.email,
                    'X-Grafana-Name': user.givenname || ''
                });
            }
        });
    });
}).listen(socket);
