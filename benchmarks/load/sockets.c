/* WebSockets, https://www.rfc-editor.org/rfc/rfc6455, and Engine.IO on top of them, as a page would hold them. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, BUFFER = 1 << 20 };

static void send_frame(Socket *socket, int opcode, const char *bytes, int size) {
    char frame[131] = {(char)(0x80 | opcode), (char)(0x80 | size)}; /* masked with zeros */
    if (size > 125) return;
    memcpy(frame + 6, bytes, size);
    write_all(socket->fd, frame, size + 6);
}

void open_socket(Socket *socket) {
    attempts++;
    socket->since = now();
    socket->fd = dial(socket->port, 0);
    socket->state = CONNECTING;
    if (socket->fd < 0)
        drop_socket(socket, 0);
    else
        watch(socket->fd, EPOLL_CTL_ADD, EPOLLOUT, socket);
}

void drop_socket(Socket *socket, int reset) {
    if (socket->state == READY) n_ready--, closed++;
    if (socket->fd >= 0) {
        struct linger at_once = {1, 0};
        if (reset) setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(socket->fd);
    }
    free(socket->rest);
    socket->rest = NULL, socket->rest_size = 0;
    socket->fd = -1, socket->state = WAITING, socket->greeted = 0, socket->head = 0;
    socket->retry_at = now() + delay_least + drand48() * (delay_most - delay_least);
}

/* A page is back once it received the greeting and the newest number. */
static void note_head(Socket *socket, const char *text, int size) {
    const char *number = memmem(text, size, "\"seq\":", 6);
    long head = number ? atol(number + 6) : 0;
    if (head > socket->head) socket->head = head;
    if (memmem(text, size, hello, strlen(hello))) socket->greeted = 1;
    if (socket->greeted && socket->head >= wanted_head) socket->state = READY, n_ready++;
}

static void on_text(Socket *socket, const char *text, int size) {
    if (engine_io && size && text[0] != '4') {
        if (text[0] == '0') send_frame(socket, TEXT, "40", 2); /* open: join the default namespace */
        if (text[0] == '2') send_frame(socket, TEXT, "3", 1);
        return;
    }
    if (socket->state != READY) note_head(socket, text, size);
    const char *found = socket->counted ? memmem(text, size, marker, strlen(marker)) : NULL;
    if (!found || found + strlen(marker) + KEY > text + size) return;
    Event *event = event_of(found + strlen(marker));
    if (!event) return;
    event->last = now();
    if (!event->received++) event->first = event->last;
    messages++;
}

static int on_frame(Socket *socket, int opcode, const char *body, int size) {
    if (opcode == TEXT) on_text(socket, body, size);
    if (opcode == PING) send_frame(socket, PONG, body, size);
    if (opcode != CLOSE) return 1;
    int code = size >= 2 ? (unsigned char)body[0] << 8 | (unsigned char)body[1] : 1005;
    close_codes[code < 5000 ? code : 0]++;
    drop_socket(socket, 0);
    return 0;
}

/* Returns how many bytes of whole frames were read, or -1 once the socket is closed. */
static int take_frames(Socket *socket, const char *bytes, int size) {
    int at = 0;
    while (size - at >= 2) {
        const unsigned char *frame = (const unsigned char *)bytes + at;
        uint64_t length = frame[1] & 127;
        int head = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (size - at < head) break;
        if (head > 2) {
            length = 0;
            for (int i = 2; i < head; i++) length = length << 8 | frame[i];
        }
        if ((uint64_t)(size - at - head) < length) break;
        if (!on_frame(socket, frame[0] & 15, bytes + at + head, (int)length)) return -1;
        at += head + (int)length;
    }
    return at;
}

static void keep(Socket *socket, const char *bytes, int size) {
    char *rest = NULL;
    if (size) {
        rest = malloc(size);
        memcpy(rest, bytes, size);
    }
    free(socket->rest);
    socket->rest = rest, socket->rest_size = size;
}

static int shake_hands(Socket *socket, char **bytes, int *size) {
    char *end = memmem(*bytes, *size, "\r\n\r\n", 4);
    if (!end) return 0;
    int status = *size > 12 ? atoi(*bytes + 9) : 0;
    if (status != 101) {
        close_codes[status > 0 && status < 5000 ? status : 0]++;
        drop_socket(socket, 0);
        return 0;
    }
    *size -= (int)(end + 4 - *bytes);
    *bytes = end + 4;
    socket->state = JOINING;
    return 1;
}

void serve_socket(Socket *socket, uint32_t ready) {
    static char buffer[BUFFER];
    if (socket->fd < 0) return; /* an earlier event of this epoll_wait closed it */
    if (socket->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error || !(ready & EPOLLOUT)) {
            drop_socket(socket, 0);
            return;
        }
        write_all(socket->fd, socket->handshake, socket->handshake_size);
        socket->state = HANDSHAKING;
        watch(socket->fd, EPOLL_CTL_MOD, EPOLLIN, socket);
        return;
    }
    if (socket->rest_size) memcpy(buffer, socket->rest, socket->rest_size);
    int got = (int)read(socket->fd, buffer + socket->rest_size, BUFFER - socket->rest_size);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) drop_socket(socket, 0);
        return;
    }
    char *bytes = buffer;
    int size = socket->rest_size + got;
    if (socket->state != HANDSHAKING || shake_hands(socket, &bytes, &size)) {
        int taken = take_frames(socket, bytes, size);
        if (taken >= 0) keep(socket, bytes + taken, size - taken);
    } else if (socket->fd >= 0) {
        keep(socket, bytes, size);
    }
}
