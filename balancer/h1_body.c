/*
 * Framing of chunked request bodies, strictly: see h1.h. llhttp's loose build takes a line end
 * without CR here, so these lines are read by ourselves.
 * Source: RFC 9112 7.1
 */
#include "balancer/h1.h"
#include "balancer/text.h"

#define SIZE_LINE_MAX 256     /* size and extensions of a chunk */
#define TRAILER_LINE_MAX 4096

/*
 * The first line of data, at most `most` bytes with its CR LF. BAL_H1_OK: *ret is the line
 * without CR LF. BAL_H1_MORE: not complete yet.
 */
static enum bal_h1_error
take_line(char *data, size_t len, size_t most, enum bal_h1_error too_long, struct w_view *ret)
{
	size_t look = W_MIN(len, most);
	const char *lf = look > 0 ? memchr(data, '\n', look) : NULL;

	if (lf == NULL)
		return len >= most ? too_long : BAL_H1_MORE;
	if (lf == data || lf[-1] != '\r')
		return BAL_H1_BARE_LF;
	*ret = (struct w_view){ data, (size_t)(lf - data) - 1 };
	return BAL_H1_OK;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* chunk-size [ ";" extensions ]: extensions are checked for control bytes and ignored. */
static enum bal_h1_error
parse_size(struct w_view line, uint64_t *ret)
{
	uint64_t size = 0;
	size_t i = 0;

	for (; i < line.len && hex_value(line.ptr[i]) >= 0; i++) {
		if (i == 15)
			return BAL_H1_CHUNK;
		size = size * 16 + (uint64_t)hex_value(line.ptr[i]);
	}
	if (i == 0 || (i < line.len && line.ptr[i] != ';'))
		return BAL_H1_CHUNK;
	if (!bal_text_value(w_view_sub(line, i, SIZE_MAX)))
		return BAL_H1_CHUNK;
	*ret = size;
	return BAL_H1_OK;
}

static enum bal_h1_error
next_size(struct bal_chunks *chunks, char *data, size_t len, size_t *ret_used)
{
	struct w_view line;
	enum bal_h1_error error = take_line(data, len, SIZE_LINE_MAX, BAL_H1_CHUNK, &line);

	if (error != BAL_H1_OK)
		return error;
	error = parse_size(line, &chunks->left);
	if (error != BAL_H1_OK)
		return error;
	*ret_used += line.len + 2;
	chunks->state = chunks->left > 0 ? BAL_CHUNK_DATA : BAL_CHUNK_TRAILER;
	return BAL_H1_OK;
}

static enum bal_h1_error
next_data_end(struct bal_chunks *chunks, const char *data, size_t len, size_t *ret_used)
{
	if (len > 0 && data[0] != '\r')
		return BAL_H1_CHUNK;
	if (len < 2)
		return BAL_H1_MORE;
	if (data[1] != '\n')
		return BAL_H1_CHUNK;
	*ret_used += 2;
	chunks->state = BAL_CHUNK_SIZE;
	return BAL_H1_OK;
}

/* Trailer fields are checked like others, and dropped. *ret_end: that was the empty line. */
static enum bal_h1_error
next_trailer(struct bal_chunks *chunks, char *data, size_t len, size_t max_trailer,
    size_t *ret_used, bool *ret_end)
{
	struct w_view line;
	enum bal_h1_error error = take_line(data, len, TRAILER_LINE_MAX, BAL_H1_TRAILER, &line);

	if (error != BAL_H1_OK)
		return error;
	*ret_used += line.len + 2;
	chunks->trailer_size += (uint32_t)line.len + 2;
	if (line.len == 0) {
		*ret_end = true;
		return BAL_H1_OK;
	}
	if (chunks->trailer_size > max_trailer || bal_h1_field_line(data, line.len) != BAL_H1_OK)
		return BAL_H1_TRAILER;
	return BAL_H1_OK;
}

enum bal_h1_error
bal_chunks_next(struct bal_chunks *chunks, char *data, size_t len, size_t max_trailer,
    size_t *ret_used)
{
	size_t used = 0;
	enum bal_h1_error error = BAL_H1_OK;
	bool end = false;

	while (error == BAL_H1_OK && !end && chunks->state != BAL_CHUNK_DATA) {
		if (chunks->state == BAL_CHUNK_SIZE)
			error = next_size(chunks, data + used, len - used, &used);
		else if (chunks->state == BAL_CHUNK_DATA_END)
			error = next_data_end(chunks, data + used, len - used, &used);
		else
			error = next_trailer(chunks, data + used, len - used, max_trailer, &used, &end);
	}
	*ret_used = used;
	if (error != BAL_H1_OK)
		return error;
	return end ? BAL_H1_OK : BAL_H1_MORE;
}

void
bal_chunks_took(struct bal_chunks *chunks, size_t n)
{
	chunks->left -= n;
	if (chunks->left == 0)
		chunks->state = BAL_CHUNK_DATA_END;
}
